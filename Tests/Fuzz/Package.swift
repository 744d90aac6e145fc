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

func library(_ name: String, _ dependencies: [String], path: String? = nil) -> Target {
    .target(
        name: name,
        dependencies: dependencies.map { .byName(name: $0) },
        path: path,
        swiftSettings: swiftSettings
    )
}

func fuzz(_ name: String, _ dependencies: [String]) -> Target {
    .executableTarget(
        name: name,
        dependencies: (dependencies + ["FuzzSupport"]).map { .byName(name: $0) },
        path: "Targets/" + name,
        swiftSettings: swiftSettings + [.unsafeFlags(["-parse-as-library"])]
    )
}

let package = Package(
    name: "fuzz",
    targets: [
        cLibrary("CXXHash", links: ["xxhash"]),
        cLibrary("CSimdJSON", links: ["simdjson"]),
        cLibrary("CEnvoyAPI", links: ["protobuf-c"]),
        cLibrary("CCurl", links: ["curl"]),
        cLibrary("CYAML", links: ["yaml"]),
        library("Bytes", ["CXXHash"]),
        library("Inference", ["Bytes", "CSimdJSON"]),
        library("ExtProc", ["CEnvoyAPI", "Bytes"]),
        library("Pool", ["Bytes"]),
        library("SubRequests", ["CCurl", "Bytes"]),
        library("Scraping", ["Pool", "SubRequests", "Bytes"]),
        library("Configuration", ["CYAML"]),
        library("FuzzSupport", [], path: "Targets/FuzzSupport"),
        .target(name: "CReference", path: "Targets/CReference", linkerSettings: [.linkedLibrary("simdjson")]),
        fuzz("fuzz-json", ["Bytes", "Inference", "CReference"]),
        fuzz("fuzz-grpc", ["Bytes", "Inference"]),
        fuzz("fuzz-frames", ["Bytes", "ExtProc"]),
        fuzz("fuzz-prometheus", ["Bytes", "Pool", "Scraping"]),
        fuzz("fuzz-yaml", ["Configuration"]),
    ],
    cxxLanguageStandard: .cxx17
)
