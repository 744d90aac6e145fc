/// What deploy/bench-peers.sh has installed for Apus to be compared with: a venv each.
struct Peers {
    struct Peer {
        /// The program that runs it.
        let python: String
        /// What it was made of: the arguments of pip.
        let recipe: String

        /// Its title in reports: a program of the tests that stands in for it must not be taken for it.
        func title(_ title: String) -> String {
            recipe.hasPrefix("stand-in") ? "stand-in for \(title)" : title
        }
    }

    /// `$APUS_PEERS`, or .cache/peers below the current directory.
    var directory = environmentVariable("APUS_PEERS") ?? ".cache/peers"

    /// The peer in the venv of this name; nil when it is not installed.
    subscript(venv: String) -> Peer? {
        guard let recipe = readFile("\(directory)/\(venv)/recipe") else { return nil }
        return Peer(python: "\(directory)/\(venv)/bin/python", recipe: recipe)
    }

    /// What a report says in the place of a peer's figures.
    static func missing(_ title: String) -> String {
        "\(title) is not installed: deploy/bench-peers.sh does that."
    }
}
