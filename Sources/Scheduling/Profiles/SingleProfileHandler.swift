/// `single-profile-handler`: runs the only profile; its pick is the destination.
package struct SingleProfileHandler: ProfileHandler {
    package init() {}

    package func next(_ cycle: SchedulingCycle) -> [Int] {
        cycle.ran.isEmpty ? [0] : []
    }

    package func primary(_ cycle: SchedulingCycle) throws(SchedulingError) -> Int {
        guard cycle.results.first.flatMap({ $0 }) != nil else { throw .noEndpoints }
        return 0
    }
}
