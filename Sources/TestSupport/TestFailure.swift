/// Why a part of the harness gave up, in words that help whoever reads a failed test.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
