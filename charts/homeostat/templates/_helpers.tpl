{{/* Name of the application: with `-defaults` behind it still a label's value of at most 63 characters. */}}
{{- define "homeostat.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" }}
{{- end }}

{{/* Name of all objects: the release's name, and the chart's unless it is part of it. */}}
{{- define "homeostat.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "homeostat.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels by which pods are selected; they can never change. */}}
{{- define "homeostat.selector" -}}
app.kubernetes.io/name: {{ include "homeostat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "homeostat.labels" -}}
{{ include "homeostat.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: homeostat
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where the pages are, for the links in Reports: the Service inside of the cluster, unless people reach them elsewhere. */}}
{{- define "homeostat.pagesUrl" -}}
{{- default (printf "http://%s.%s.svc:8081" (include "homeostat.fullname" .) .Release.Namespace) .Values.pagesUrl }}
{{- end }}

{{/* Name of the service account. */}}
{{- define "homeostat.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "homeostat.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The image, by digest when there is one. */}}
{{- define "homeostat.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* The restricted pod security standard, for the pod. */}}
{{- define "homeostat.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The restricted pod security standard, for the container. */}}
{{- define "homeostat.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Names of the objects of the hook that creates the ControlPlane. Its Job has nine characters more, and 63 at most: its name
becomes a label of its pod. */}}
{{- define "homeostat.defaults" -}}
{{- printf "%s-defaults" (include "homeostat.fullname" . | trunc 45 | trimSuffix "-") }}
{{- end }}

{{/* Names of the objects of the hook that lets go of what is held. */}}
{{- define "homeostat.release" -}}
{{- printf "%s-release" (include "homeostat.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}

{{/* Annotations of that hook without the weight. */}}
{{- define "homeostat.releaseHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Hook annotations without the weight. */}}
{{- define "homeostat.hook" -}}
helm.sh/hook: post-install,post-upgrade
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Stops with a clear message where the Prometheus Operator is missing. */}}
{{- define "homeostat.needsPrometheusOperator" -}}
{{- if not (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}
{{- fail (printf "%s.enabled needs the Prometheus Operator (monitoring.coreos.com/v1), which this cluster does not have: install it first, or switch %s off; for `helm template` add --api-versions monitoring.coreos.com/v1" .value .value) }}
{{- end }}
{{- end }}
