{{- define "dagcall.name" -}}
{{- if contains "dagcall" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-dagcall" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dagcall.selector" -}}
app.kubernetes.io/name: dagcall
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dagcall.labels" -}}
{{ include "dagcall.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "dagcall.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "dagcall.name" .) -}}
{{- end -}}

{{- define "dagcall.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
