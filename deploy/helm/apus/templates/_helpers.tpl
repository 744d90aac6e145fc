{{- define "apus.name" -}}
{{ .Release.Name | trunc 59 | trimSuffix "-" }}-epp
{{- end }}

{{- define "apus.clusterName" -}}
{{ .Release.Namespace }}-{{ include "apus.name" . }}
{{- end }}

{{- define "apus.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ include "apus.name" . }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "apus.selectorLabels" -}}
inferencepool: {{ include "apus.name" . }}
{{- end }}

{{- define "apus.labels" -}}
app.kubernetes.io/name: {{ include "apus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: apus
{{- end }}

{{- /* Envoy speaks TLS to the picker beside it, and has no certificate of its own to show. */ -}}
{{- define "apus.refuseWithEnvoy" -}}
{{- if or (and (hasPrefix "--secure-serving=" .) (ne . "--secure-serving=true")) (and (hasPrefix "--client-ca-file" .) (ne . "--client-ca-file=")) -}}
{{- fail (printf "%s does not go with envoy.enabled: Envoy speaks TLS to the picker and shows no certificate" .) -}}
{{- end -}}
{{- end }}

{{- define "apus.envoyDrain" -}}
{{- /* Servers before 1.30 do not know this hook and refuse the empty one that is left. */ -}}
{{- if and .Values.envoy.enabled .Values.envoy.drainSeconds (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) -}}
lifecycle: {preStop: {sleep: {seconds: {{ .Values.envoy.drainSeconds }}}}}
{{- end -}}
{{- end }}

{{- /* As the picker names it: after the pool, or after its Deployment where there is none. */ -}}
{{- define "apus.lease" -}}
{{- if .Values.inferenceExtension.endpointsServer.createInferencePool -}}
epp-{{ .Release.Namespace }}-{{ .Release.Name }}.gateway-api-inference-extension.sigs.k8s.io
{{- else -}}
epp-{{ .Release.Namespace }}-{{ include "apus.name" . }}.gateway-api-inference-extension.sigs.k8s.io
{{- end }}
{{- end }}
