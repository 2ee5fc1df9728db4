{{/* What is run. */}}
{{- define "switchover.image" -}}
{{- $image := .Values.image }}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if or $image.tag (not $image.digest) }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Gives every pod what all have in common: (dict "root" $ "pod" …). */}}
{{- define "switchover.anyPod" -}}
{{- $image := .root.Values.image }}
{{- $container := first .pod.spec.containers }}
{{- $_ := set $container "image" (include "switchover.image" .root) }}
{{- with $image.pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end }}
{{- with $image.pullSecrets }}{{ $_ := set $.pod.spec "imagePullSecrets" . }}{{ end }}
{{- end }}

{{/* Sets a variable in place of the one of its name, or beside the others: (dict "container" … "variable" …). */}}
{{- define "switchover.setVariable" -}}
{{- $variable := .variable }}
{{- $found := false }}
{{- $env := list }}
{{- range (default list .container.env) }}
{{- if eq .name $variable.name }}{{ $found = true }}{{ $env = append $env $variable }}{{ else }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- if not $found }}{{ $env = append $env $variable }}{{ end }}
{{- $_ := set .container "env" $env }}
{{- end }}

{{/*
Does to a Deployment, a DaemonSet or the pods of a job what the values of its role say: (dict "root" $ "pod" <template of the pods> "of" <values>).
A list or map of the values replaces the one of deploy/; what is empty takes it away.
*/}}
{{- define "switchover.pod" -}}
{{- include "switchover.anyPod" . }}
{{- $root := .root }}
{{- $of := .of }}
{{- $spec := .pod.spec }}
{{- $container := first $spec.containers }}
{{- range $field := list "affinity" "dnsConfig" "dnsPolicy" "hostAliases" "nodeSelector" "priorityClassName" "runtimeClassName" "terminationGracePeriodSeconds" "tolerations" }}
{{- if hasKey $of $field }}
{{- $value := get $of $field }}
{{- if $value }}{{ $_ := set $spec $field $value }}{{ else }}{{ $_ := unset $spec $field }}{{ end }}
{{- end }}
{{- end }}
{{- $_ := set $spec "securityContext" (deepCopy $of.podSecurityContext) }}
{{- $_ := set $container "securityContext" $of.securityContext }}
{{- $_ := set $container "resources" $of.resources }}
{{- if hasKey $of "topologySpreadConstraints" }}
{{- $selector := dict "matchLabels" (deepCopy (default dict .pod.metadata.labels)) }}
{{- $constraints := list }}
{{- range $of.topologySpreadConstraints }}
{{- $constraints = append $constraints (merge (deepCopy .) (dict "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash"))) }}
{{- end }}
{{- if $constraints }}{{ $_ := set $spec "topologySpreadConstraints" $constraints }}{{ else }}{{ $_ := unset $spec "topologySpreadConstraints" }}{{ end }}
{{- end }}
{{- $format := default $root.Values.logFormat $of.logFormat }}
{{- if ne $format "text" }}
{{- include "switchover.setVariable" (dict "container" $container "variable" (dict "name" "SWITCHOVER_LOG_FORMAT" "value" $format)) }}
{{- end }}
{{- $level := default $root.Values.log $of.log }}
{{- if ne $level "info" }}
{{- include "switchover.setVariable" (dict "container" $container "variable" (dict "name" "SWITCHOVER_LOG" "value" $level)) }}
{{- end }}
{{- range $of.extraEnv }}
{{- include "switchover.setVariable" (dict "container" $container "variable" .) }}
{{- end }}
{{- with $of.extraArgs }}{{ $_ := set $container "args" (concat $container.args .) }}{{ end }}
{{- with $of.extraVolumes }}{{ $_ := set $spec "volumes" (concat (default list $spec.volumes) .) }}{{ end }}
{{- with $of.extraVolumeMounts }}{{ $_ := set $container "volumeMounts" (concat (default list $container.volumeMounts) .) }}{{ end }}
{{- if not $root.Values.scrapeAnnotations }}{{ $_ := unset .pod.metadata "annotations" }}{{ end }}
{{- $annotations := merge (deepCopy (default dict $of.podAnnotations)) (default dict .pod.metadata.annotations) }}
{{- if $annotations }}{{ $_ := set .pod.metadata "annotations" $annotations }}{{ end }}
{{- $_ := set .pod.metadata "labels" (merge dict .pod.metadata.labels (default dict $of.podLabels) $root.Values.commonLabels) }}
{{- end }}

{{/* The same for the role's objects, read from a file of its own: (dict "root" $ "objects" … "role" "controller" "workload" "Deployment"). */}}
{{- define "switchover.role" -}}
{{- $of := get .root.Values .role }}
{{- $name := printf "switchover-%s" .role }}
{{- $workload := get .objects (printf "%s/%s" .workload $name) }}
{{- include "switchover.pod" (dict "root" .root "pod" $workload.spec.template "of" $of) }}
{{- $strategy := ternary "updateStrategy" "strategy" (eq .workload "DaemonSet") }}
{{- if $of.strategy }}{{ $_ := set $workload.spec $strategy $of.strategy }}{{ else }}{{ $_ := unset $workload.spec $strategy }}{{ end }}
{{- $_ := set $workload.spec "revisionHistoryLimit" $of.revisionHistoryLimit }}
{{- with $of.annotations }}{{ $_ := set $workload.metadata "annotations" (deepCopy .) }}{{ end }}
{{- with $of.serviceAccount.annotations }}
{{- $account := get $.objects (printf "ServiceAccount/%s" $name) }}
{{- $_ := set $account.metadata "annotations" (deepCopy .) }}
{{- end }}
{{- if hasKey $of "replicas" }}{{ $_ := set $workload.spec "replicas" $of.replicas }}{{ end }}
{{- $budget := printf "PodDisruptionBudget/%s" $name }}
{{- if hasKey .objects $budget }}
{{- if not $of.pdb.enabled }}
{{- $_ := unset .objects $budget }}
{{- else }}
{{- $spec := get (get .objects $budget) "spec" }}
{{- $_ := unset $spec "maxUnavailable" }}
{{- if not (kindIs "invalid" $of.pdb.minAvailable) }}
{{- $_ := set $spec "minAvailable" $of.pdb.minAvailable }}
{{- else }}
{{- $_ := set $spec "maxUnavailable" $of.pdb.maxUnavailable }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* OpenShift gives each namespace its own range of user ids and refuses pods that ask for another one. */}}
{{- define "switchover.openshift" -}}
{{- if .root.Values.openshift.enabled }}
{{- range list "runAsUser" "runAsGroup" "fsGroup" }}{{ $_ := unset $.pod.spec.securityContext . }}{{ end }}
{{- end }}
{{- end }}
