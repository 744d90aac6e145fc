internal import Telemetry

extension JSONWriter {
    /// The stored properties of a value, for a page that shows what is in effect; what plugins remember of requests is not among them.
    mutating func reflect(_ name: Name, _ value: Any) {
        let mirror = Mirror(reflecting: value)
        object(name) { json in json.members(of: mirror) }
    }

    private mutating func members(of mirror: Mirror) {
        for (label, value) in mirror.children {
            guard let label else { continue }
            write(Name(label), value)
        }
    }

    private mutating func write(_ name: Name, _ value: Any) {
        switch value {
        case let value as Bool: member(name, value)
        case let value as Int: member(name, value)
        case let value as Float: member(name, value)
        case let value as Double: member(name, value)
        case let value as String: member(name, value)
        case let value as Duration: member(name, Self.text(value))
        case let value as [String]: array(name) { json in for text in value { json.value(text) } }
        case let value as Set<String>: array(name) { json in for text in value.sorted() { json.value(text) } }
        default:
            let mirror = Mirror(reflecting: value)
            switch mirror.displayStyle {
            case .optional:
                if let some = mirror.children.first { write(name, some.value) } else { member(name, nil as String?) }
            case .struct, .tuple:
                object(name) { $0.members(of: mirror) }
            case .enum:
                if mirror.children.isEmpty { member(name, "\(value)") } else { object(name) { $0.members(of: mirror) } }
            case .collection:
                array(name) { json in
                    for child in mirror.children {
                        let element = Mirror(reflecting: child.value)
                        if element.displayStyle == .struct {
                            json.object { $0.members(of: element) }
                        } else {
                            json.value("\(child.value)")
                        }
                    }
                }
            default:
                break
            }
        }
    }

    /// As the configuration writes durations.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = Double(seconds) * 1e3 + Double(attoseconds) / 1e15
        if attoseconds == 0 { return "\(seconds)s" }
        return milliseconds == milliseconds.rounded() ? "\(Int(milliseconds))ms" : "\(milliseconds)ms"
    }
}
