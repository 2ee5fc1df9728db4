{{/*
What is installed stands in deploy/base, deploy/components and certs/cert-manager, and nowhere else: base/, components/,
cert-manager/ and webhook-config/ beside this folder are links to them. Templates read those objects, change what values say, and
write them. An object is a value here, so that nothing is known of its text.
*/}}

{{/* Reads a file's objects into a dictionary, by kind and name: (dict "root" $ "file" … "into" …). */}}
{{- define "switchover.read" -}}
{{- range splitList "\n---\n" (required (print .file " isn't part of this chart") (.root.Files.Get .file)) }}
{{- $object := fromYaml . }}
{{- with $object.Error }}{{ fail (printf "%s: %s" $.file .) }}{{ end }}
{{- with $object }}{{ $_ := set $.into (printf "%s/%s" .kind .metadata.name) . }}{{ end }}
{{- end }}
{{- end }}

{{/* Writes what was read, and changed: (dict "root" $ "objects" …). With "annotations" every object bears them. */}}
{{- define "switchover.write" -}}
{{- $root := .root }}
{{- range $object := .objects }}
{{- include "switchover.names" (dict "root" $root "object" $object) }}
{{- $metadata := $object.metadata }}
{{- $labels := merge (dict "app.kubernetes.io/part-of" "switchover") (default dict $metadata.labels) $root.Values.commonLabels }}
{{- $_ := set $metadata "labels" $labels }}
{{- $annotations := merge dict (default dict $.annotations) (default dict $metadata.annotations) $root.Values.commonAnnotations }}
{{- if $annotations }}{{ $_ := set $metadata "annotations" $annotations }}{{ end }}
---
{{ toYaml $object }}
{{ end }}
{{- end }}

{{/* Reads a file and writes it, where nothing else is to be changed: (dict "root" $ "file" …). */}}
{{- define "switchover.copy" -}}
{{- $objects := dict }}
{{- include "switchover.read" (dict "root" .root "file" .file "into" $objects) }}
{{- include "switchover.write" (dict "root" .root "objects" $objects) }}
{{- end }}

{{/* Where it is installed. */}}
{{- define "switchover.namespace" -}}
{{ default .Release.Namespace .Values.namespace.name }}
{{- end }}

{{/*
Gives an object its namespace and its name, and follows them to wherever they are named: what kustomize does with `namespace:` and
`namePrefix:`, in the words of base/names.yaml. The Lease and the Secrets of the webhook bear the same names everywhere.
*/}}
{{- define "switchover.names" -}}
{{- $namespace := include "switchover.namespace" .root }}
{{- $prefix := .root.Values.namePrefix }}
{{- $object := .object }}
{{- $kind := $object.kind }}
{{- $unprefixed := list "CustomResourceDefinition" "Namespace" "DatabaseCluster" }}
{{- $namespaced := list "Certificate" "CronJob" "DaemonSet" "Deployment" "Issuer" "Job" "NetworkPolicy" "PodDisruptionBudget" "PodMonitor" "PrometheusRule" "ResourceQuota" "Role" "RoleBinding" "Service" "ServiceAccount" }}
{{- if eq $kind "Namespace" }}
{{- $_ := set $object.metadata "name" $namespace }}
{{- else if not (has $kind $unprefixed) }}
{{- $_ := set $object.metadata "name" (print $prefix $object.metadata.name) }}
{{- end }}
{{- if has $kind $namespaced }}{{ $_ := set $object.metadata "namespace" $namespace }}{{ end }}
{{- if eq $kind "ConfigMap" }}{{ $_ := set $object.metadata "namespace" (default $namespace $object.metadata.namespace) }}{{ end }}
{{- with $object.roleRef }}{{ $_ := set . "name" (print $prefix .name) }}{{ end }}
{{- range $object.subjects }}
{{- $_ := set . "name" (print $prefix .name) }}
{{- $_ := set . "namespace" $namespace }}
{{- end }}
{{- range $object.rules }}
{{- if or (has "mutatingwebhookconfigurations" .resources) (has "securitycontextconstraints" .resources) (has "deployments/scale" .resources) }}
{{- $names := list }}{{ range .resourceNames }}{{ $names = append $names (print $prefix .) }}{{ end }}
{{- $_ := set . "resourceNames" $names }}
{{- end }}
{{- end }}
{{- range $object.webhooks }}
{{- $_ := set .clientConfig.service "name" (print $prefix .clientConfig.service.name) }}
{{- $_ := set .clientConfig.service "namespace" $namespace }}
{{- end }}
{{- if has $kind (list "ValidatingAdmissionPolicyBinding" "MutatingAdmissionPolicyBinding") }}
{{- $_ := set $object.spec "policyName" (print $prefix $object.spec.policyName) }}
{{- else if eq $kind "FlowSchema" }}
{{- range $object.spec.rules }}{{ range .subjects }}
{{- $_ := set .serviceAccount "name" (print $prefix .serviceAccount.name) }}
{{- $_ := set .serviceAccount "namespace" $namespace }}
{{- end }}{{ end }}
{{- else if or (eq $kind "Deployment") (eq $kind "DaemonSet") (eq $kind "Job") }}
{{- include "switchover.namesInPod" (dict "prefix" $prefix "pod" $object.spec.template.spec) }}
{{- else if eq $kind "CronJob" }}
{{- include "switchover.namesInPod" (dict "prefix" $prefix "pod" $object.spec.jobTemplate.spec.template.spec) }}
{{- end }}
{{- end }}

{{- define "switchover.namesInPod" -}}
{{- $prefix := .prefix }}
{{- $_ := set .pod "serviceAccountName" (print $prefix .pod.serviceAccountName) }}
{{- range .pod.containers }}{{ range .env }}
{{- if has .name (list "SWITCHOVER_WEBHOOK_SERVICE" "SWITCHOVER_WEBHOOK_CONFIGURATION") }}
{{- $_ := set . "value" (print $prefix .value) }}
{{- end }}
{{- end }}{{ end }}
{{- end }}
