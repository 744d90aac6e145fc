private import Glibc

/// The values of `apus serve`'s flags. Defaults are the contract's; sizes are in bytes.
struct ServeOptions: Sendable {
    // Ports
    var grpcPort = 9002
    var healthPort = 9003
    var metricsPort = 9090
    var bindAddress = "0.0.0.0"

    // Configuration and endpoints
    var configFile = ""
    var configText = ""
    var endpoints = ""
    var poolName = ""
    var poolNamespace = ""
    var poolGroup = "inference.networking.k8s.io"
    var endpointSelector = ""
    var endpointTargetPorts = ""
    var disableSubsetFilter = false

    // Scraping
    var refreshMetricsInterval = Duration.milliseconds(50)
    var refreshPrometheusInterval = Duration.seconds(5)
    var metricsStalenessThreshold = Duration.seconds(2)
    var metricsScheme = "http"
    var metricsInsecureSkipVerify = true

    // Serving
    var secureServing = true
    var certPath = ""
    var enableCertReload = false
    var clientCAFile = ""
    var tlsMinVersion = ""
    var tlsCipherSuites = ""
    var metricsEndpointAuth = true
    var healthChecking = false
    var leaderElection = false
    var drainTimeout = Duration.seconds(30)
    var maxReceiveMessageBytes = 4 << 20
    var maxSendMessageBytes = 0
    var maxRequestBodyBytes = 64 << 20
    var maxStreams = 20_000
    var emitEndpointScores = false
    var ioThreads = 0

    // Telling
    var tracing = true
    var verbosity = 1
    var logFormat = ""

    /// Of the pod or the kubeconfig, where endpoints come from Kubernetes.
    var clusterNamespace: String?

    /// The pool's namespace: the flag, the environment's NAMESPACE, that of the cluster's files, or `default`.
    var namespace: String {
        if !poolNamespace.isEmpty { return poolNamespace }
        return Self.environment("NAMESPACE") ?? clusterNamespace ?? "default"
    }

    /// The pool's name in metrics and in the lease's.
    var poolLabel: String {
        if !poolName.isEmpty { return poolName }
        return endpointSelector.isEmpty ? "default" : deploymentName ?? "default"
    }

    /// The name of the deployment that we are a pod of: POD_NAME without its last two parts.
    var deploymentName: String? {
        let parts = Self.environment("POD_NAME")?.split(separator: "-") ?? []
        return parts.count > 2 ? parts.dropLast(2).joined(separator: "-") : nil
    }

    private static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The names of the flags that were given.
    var given: Set<String> = []
}
