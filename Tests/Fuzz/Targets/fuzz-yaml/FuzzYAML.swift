import Configuration
import FuzzSupport

/// A configuration file: it is read, or refused with errors that point into it.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzYAML(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let text = Array(UnsafeBufferPointer(start: data, count: size))
    let (configuration, found) = ConfigurationLoader.load(text: text, file: "fuzz.yaml")
    let hasErrors = found.contains { $0.severity == .error }
    check((configuration == nil) == hasErrors, "\(found)")
    // YAML also ends lines at CR, NEL, LS and PS, of which the shortest is one byte.
    let lines = text.count + 1
    for diagnostic in found {
        check(diagnostic.line >= 1 && diagnostic.line <= lines, "\(diagnostic)")
        check(diagnostic.column >= 1 && diagnostic.column <= text.count + 2, "\(diagnostic)")
        check(!diagnostic.message.isEmpty, "\(diagnostic)")
    }
    check(found.count <= Diagnostics.limit + 1, "\(found.count) diagnostics")

    let diagnostics = Diagnostics(file: "fuzz.yaml")
    if let root = YAMLDocument.parse(text, diagnostics) {
        walk(root)
    } else {
        check(diagnostics.hasErrors, "no reason")
    }
    return 0
}

/// Every node can be asked for everything.
private func walk(_ root: YAMLNode) {
    var open = [root]
    var count = 0
    while let node = open.popLast() {
        count += 1
        _ = node.kind
        check(node.position.line >= 1 && node.position.column >= 1, "\(node.position)")
        for entry in node.entries ?? [] { open.append(entry.value) }
        open.append(contentsOf: node.elements ?? [])
    }
    check(count <= 2 * YAMLDocument.sizeLimit, "\(count) nodes")
}
