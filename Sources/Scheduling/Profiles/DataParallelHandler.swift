/// `data-parallel-profile-handler`: requests go to one port of each server, whose listener passes them on to the picked rank.
package struct DataParallelHandler: ProfileHandler {
    package static let defaultPrimaryPort = 8_000

    package let primaryPort: Int

    package init(primaryPort: Int = defaultPrimaryPort) {
        self.primaryPort = primaryPort
    }

    package func next(_ cycle: SchedulingCycle) -> [Int] {
        cycle.ran.isEmpty ? [0] : []
    }

    package func route(_ cycle: SchedulingCycle) throws(SchedulingError) -> Route {
        guard cycle.result(0) != nil else { throw .noEndpoints }
        return Route(primary: 0, primaryPort: primaryPort)
    }
}
