/// `single-profile-handler`: runs the only profile; its pick is the destination.
package struct SingleProfileHandler: ProfileHandler {
    package init() {}

    package func next(_ cycle: SchedulingCycle) -> [Int] {
        cycle.ran.isEmpty ? [0] : []
    }

    package func route(_ cycle: SchedulingCycle) throws(SchedulingError) -> Route {
        guard cycle.result(0) != nil else { throw .noEndpoints }
        return Route(primary: 0)
    }
}
