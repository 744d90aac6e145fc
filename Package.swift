// swift-tools-version:6.2

import PackageDescription

// Every Swift target is compiled with the same rules.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
    .treatAllWarnings(as: .error),
    // Small functions of other targets are inlined on a request's way: about a tenth of its CPU.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

// MARK: Shorthands

/// A C target that owns one C library: its header, what Swift cannot import of it, and the link line.
func cLibrary(_ name: String, links: [String], dependencies: [String] = []) -> Target {
    .target(
        name: name,
        dependencies: dependencies.map { .byName(name: $0) },
        linkerSettings: links.map { .linkedLibrary($0) }
    )
}

func library(_ name: String, _ dependencies: [String] = []) -> Target {
    .target(name: name, dependencies: dependencies.map { .byName(name: $0) }, swiftSettings: swiftSettings)
}

func executable(_ name: String, _ dependencies: [String]) -> Target {
    .executableTarget(name: name, dependencies: dependencies.map { .byName(name: $0) }, swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [String] = [], resources: [Resource] = []) -> Target {
    .testTarget(
        name: name + "Tests",
        dependencies: ([name == "EndToEnd" ? nil : name, "TestSupport"].compactMap { $0 } + dependencies)
            .map { .byName(name: $0) },
        resources: resources,
        swiftSettings: swiftSettings
    )
}

// MARK: Package

let package = Package(
    name: "apus",
    products: [
        .executable(name: "apus", targets: ["apus"]),
        .executable(name: "apus-sim", targets: ["apus-sim"]),
        .executable(name: "apus-bench", targets: ["apus-bench"]),
    ],
    targets: [
        // C libraries
        cLibrary("CGlibc", links: []),
        cLibrary("CGRPC", links: ["grpc", "gpr"]),
        cLibrary("CEnvoyAPI", links: ["protobuf-c"]),
        cLibrary("CCurl", links: ["curl"]),
        cLibrary("CYAML", links: ["yaml"]),
        cLibrary("CXXHash", links: ["xxhash"]),
        cLibrary("CSimdJSON", links: ["simdjson"]),
        cLibrary("CMicroHTTPD", links: ["microhttpd"]),
        cLibrary("COpenSSL", links: ["ssl", "crypto"]),
        cLibrary("CEpoll", links: []),

        // The path of a byte
        library("Bytes", ["CXXHash"]),
        library("RPC", ["CGRPC", "Bytes"]),
        library("ExtProc", ["CEnvoyAPI", "Bytes"]),
        library("Inference", ["CSimdJSON", "Bytes"]),

        // The decision
        library("Pool", ["Bytes"]),
        library("Scheduling", ["Pool", "Inference", "Bytes"]),
        library("Admission", ["Pool", "Bytes"]),

        // What the decision knows
        library("SubRequests", ["CCurl", "Bytes"]),
        library("Scraping", ["Pool", "SubRequests", "Bytes"]),
        library("Discovery", ["Pool", "SubRequests", "Inference", "Configuration", "Bytes"]),

        // What the request needs done before it goes
        library("Orchestration", ["Scheduling", "SubRequests", "Inference", "Pool", "Bytes"]),

        // Around it
        library("Configuration", ["CYAML"]),
        library("Telemetry", ["Bytes"]),
        library("HTTPServer", ["CMicroHTTPD", "Bytes"]),
        library("Certificates", ["COpenSSL"]),
        library(
            "EndpointPicker",
            [
                "Bytes", "RPC", "ExtProc", "Inference", "Pool", "Scheduling", "Admission", "Scraping", "Discovery",
                "Configuration", "Telemetry", "Orchestration", "SubRequests",
            ]
        ),
        library("EngineSimulation", ["Bytes"]),
        library(
            "RoutingSimulation",
            ["Bytes", "Pool", "Scheduling", "Admission", "Configuration", "EndpointPicker"]
        ),

        // Programs
        executable(
            "apus",
            [
                "Bytes", "RPC", "ExtProc", "Inference", "Pool", "Scheduling", "Admission", "SubRequests", "Scraping",
                "Discovery", "Configuration", "Telemetry", "HTTPServer", "Certificates", "EndpointPicker",
                "Orchestration", "CGlibc",
            ]
        ),
        executable("apus-sim", ["EngineSimulation", "HTTPServer", "Bytes"]),
        executable(
            "apus-bench",
            [
                "Admission", "Bytes", "CEpoll", "CGRPC", "EndpointPicker", "ExtProc", "Inference", "Pool", "RPC",
                "RoutingSimulation", "Scheduling",
            ]
        ),

        // Tests
        library("TestSupport", ["Admission", "Bytes", "CGRPC", "COpenSSL", "ExtProc", "HTTPServer", "Pool"]),
        tests("Bytes"),
        tests("RPC", ["CGRPC", "Certificates"]),
        tests("ExtProc", ["Bytes"]),
        tests("Inference", ["Bytes"]),
        tests("Pool", ["Bytes"]),
        tests("Scheduling", ["Pool", "Inference", "Bytes"]),
        tests("Admission", ["Pool", "Bytes"]),
        tests("SubRequests", ["Bytes", "Certificates"]),
        tests("Orchestration", ["Bytes", "Inference", "Pool", "Scheduling", "SubRequests"]),
        tests("Scraping", ["Pool", "SubRequests", "Bytes", "Certificates"], resources: [.copy("Fixtures")]),
        tests("Discovery", ["Bytes", "Certificates", "Configuration", "Pool", "SubRequests"]),
        tests("Configuration"),
        tests("Telemetry"),
        tests("HTTPServer", ["SubRequests"]),
        tests("Certificates"),
        tests("EngineSimulation", ["Bytes"]),
        tests("RoutingSimulation", ["Bytes"]),
        .testTarget(name: "ApusTests", dependencies: ["apus", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(name: "ApusSimTests", dependencies: ["apus-sim", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(name: "ApusBenchTests", dependencies: ["apus-bench", "TestSupport"], swiftSettings: swiftSettings),
        tests(
            "EndpointPicker",
            [
                "Bytes", "ExtProc", "Inference", "Pool", "Scheduling", "Admission", "Scraping", "Discovery",
                "Configuration", "Telemetry", "RPC", "Orchestration", "SubRequests",
            ]
        ),
        tests("EndToEnd", ["SubRequests", "Bytes", "ExtProc", "Certificates"]),
    ],
    cxxLanguageStandard: .cxx17
)
