/// Ends the process, which is how a fuzz target says that it found something.
package func check(
    _ condition: Bool,
    _ message: @autoclosure () -> String,
    file: StaticString = #fileID,
    line: Int = #line
) {
    if !condition { fatalError("\(file):\(line): \(message())") }
}
