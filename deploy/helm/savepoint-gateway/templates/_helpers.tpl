{{- define "savepoint-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "savepoint-gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 59 | trimSuffix "-" }}
{{- else }}
{{- $name := include "savepoint-gateway.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 59 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 59 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "savepoint-gateway.selector" -}}
app.kubernetes.io/name: {{ include "savepoint-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "savepoint-gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "savepoint-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "savepoint-gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "savepoint-gateway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "savepoint-gateway.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "savepoint-gateway.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A duration of the program, such as 1m or 500ms, in whole seconds, rounded up. */}}
{{- define "savepoint-gateway.seconds" -}}
{{- $text := toString . }}
{{- if hasSuffix "ms" $text }}{{ divf (trimSuffix "ms" $text) 1000 | ceil | int }}
{{- else if hasSuffix "s" $text }}{{ trimSuffix "s" $text | float64 | ceil | int }}
{{- else if hasSuffix "m" $text }}{{ mulf (trimSuffix "m" $text) 60 | ceil | int }}
{{- else if hasSuffix "h" $text }}{{ mulf (trimSuffix "h" $text) 3600 | ceil | int }}
{{- else }}{{ fail (printf "%s is no duration: it needs a unit, ms, s, m or h" $text) }}
{{- end }}
{{- end }}

{{/* What is wrong with the values and a schema cannot say. */}}
{{- define "savepoint-gateway.check" -}}
{{- if not (or .Values.huawei.region .Values.huawei.endpoint .Values.alibaba.region .Values.alibaba.endpoint .Values.flink.clusters) }}
{{- fail "no provider is configured: set huawei.region, alibaba.region, an endpoint or flink.clusters" }}
{{- end }}
{{- range $cloud := list "huawei" "alibaba" }}
{{- $c := (index $.Values $cloud).credentials }}
{{- $oidc := ternary (list $c.oidc.providerUrn $c.oidc.agencyUrn) (list $c.oidc.providerArn $c.oidc.roleArn) (eq $cloud "huawei") }}
{{- $named := len (compact $oidc) }}
{{- if eq $named 1 }}{{ fail (printf "%s.credentials.oidc is half set: it needs the provider and the identity" $cloud) }}{{ end }}
{{- $user := len (compact (list (dig "password" "domainName" "" $c) (dig "password" "userName" "" $c) (dig "password" "secretName" "" $c))) }}
{{- if and (gt $user 0) (lt $user 3) }}{{ fail (printf "%s.credentials.password is not complete: it needs the account, the user and the Secret" $cloud) }}{{ end }}
{{- if gt (add (ternary 1 0 (ne $c.secretName "")) (ternary 1 0 (ne $c.source "")) (ternary 1 0 (eq $named 2)) (ternary 1 0 (eq $user 3)) | int) 1 }}
{{- fail (printf "%s.credentials names more than one source" $cloud) }}
{{- end }}
{{- end }}
{{- if and .Values.tls.clientCaSecretName (not .Values.tls.secretName) }}
{{- fail "tls.clientCaSecretName needs tls.secretName" }}
{{- end }}
{{- end }}
