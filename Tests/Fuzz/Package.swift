// swift-tools-version:6.2

import PackageDescription

// The fuzz targets. Sources/ holds links to the targets of the repository that they test: `package` declarations are seen within one package
// only, and everything is to be compiled with coverage and the address sanitizer. `deploy/fuzz.sh` builds and runs this.
//
// A new fuzz target is a folder in Targets/, seeds in Corpus/, links in Sources/ and, below, a line for each target that it tests and one `fuzz` line.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

func cLibrary(_ name: String, links: [String]) -> Target {
    .target(name: name, linkerSettings: links.map { .linkedLibrary($0) })
}

func library(_ name: String, _ dependencies: [String]) -> Target {
    .target(name: name, dependencies: dependencies.map { .byName(name: $0) }, swiftSettings: swiftSettings)
}

func fuzz(_ name: String, _ dependencies: [String]) -> Target {
    .executableTarget(
        name: name,
        dependencies: dependencies.map { .byName(name: $0) },
        path: "Targets/" + name,
        swiftSettings: swiftSettings + [.unsafeFlags(["-parse-as-library"])]
    )
}

let package = Package(
    name: "fuzz",
    targets: [
        cLibrary("CXXHash", links: ["xxhash"]),
        cLibrary("CSimdJSON", links: ["simdjson"]),
        library("Bytes", ["CXXHash"]),
        library("Inference", ["Bytes", "CSimdJSON"]),
        .target(name: "CReference", path: "Targets/CReference", linkerSettings: [.linkedLibrary("simdjson")]),
        fuzz("fuzz-json", ["Bytes", "Inference", "CReference"]),
    ],
    cxxLanguageStandard: .cxx17
)
