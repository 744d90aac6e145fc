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

{{- /* As the picker names it: after the pool, or after its Deployment where there is none. */ -}}
{{- define "apus.lease" -}}
{{- if .Values.inferenceExtension.endpointsServer.createInferencePool -}}
epp-{{ .Release.Namespace }}-{{ .Release.Name }}.gateway-api-inference-extension.sigs.k8s.io
{{- else -}}
epp-{{ .Release.Namespace }}-{{ include "apus.name" . }}.gateway-api-inference-extension.sigs.k8s.io
{{- end }}
{{- end }}
