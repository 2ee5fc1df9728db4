// The injection of switchover's webhook, written the ordinary way: controller-runtime's webhook server, a typed Pod, and
// PatchResponseFromRaw. What it knows of namespaces and databases stands in maps, which is less work than the cached
// client of a real one.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

type database struct {
	nodeLabel string
	weight    int32
	epoch     uint64
}

type record struct {
	Database string `json:"database"`
	Mode     string `json:"mode"`
	Epoch    uint64 `json:"epoch"`
}

type injector struct {
	decoder    admission.Decoder
	namespaces map[string]string
	databases  map[string]database
}

func (i *injector) Handle(_ context.Context, req admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := i.decoder.Decode(req, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	name, optedIn := i.namespaces[req.Namespace]
	if !optedIn {
		return admission.Allowed("the namespace did not opt in")
	}
	followed, known := i.databases[name]
	if !known {
		return admission.Allowed("no such database")
	}

	if pod.Spec.Affinity == nil {
		pod.Spec.Affinity = &corev1.Affinity{}
	}
	if pod.Spec.Affinity.NodeAffinity == nil {
		pod.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	affinity := pod.Spec.Affinity.NodeAffinity
	affinity.PreferredDuringSchedulingIgnoredDuringExecution = append(
		affinity.PreferredDuringSchedulingIgnoredDuringExecution,
		preference(followed.nodeLabel, "closely", followed.weight),
		preference(followed.nodeLabel, "intermediate", max(1, followed.weight/2)),
	)
	injected, err := json.Marshal([]record{{Database: name, Mode: "preferred", Epoch: followed.epoch}})
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations["switchover.dev/injected"] = string(injected)

	patched, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, patched)
}

func preference(key, tier string, weight int32) corev1.PreferredSchedulingTerm {
	return corev1.PreferredSchedulingTerm{
		Weight: weight,
		Preference: corev1.NodeSelectorTerm{
			MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{tier}},
			},
		},
	}
}

// As in benches/admission/ours.rs.
func namespaces() map[string]string {
	names := map[string]string{}
	for i := range 10 {
		names[fmt.Sprintf("team-%d", i)] = "default"
	}
	return names
}

func main() {
	certificates := flag.String("certificates", "", "directory with tls.crt and tls.key")
	port := flag.Int("port", 9443, "port on 127.0.0.1")
	flag.Parse()
	ctrl.SetLogger(zap.New())

	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		panic(err)
	}
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: *port, CertDir: *certificates})
	server.Register("/mutate", &webhook.Admission{Handler: &injector{
		decoder:    admission.NewDecoder(scheme),
		namespaces: namespaces(),
		databases:  map[string]database{"default": {nodeLabel: "switchover", weight: 100, epoch: 1}},
	}})

	// Ends with whoever started it.
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := server.Start(ctx); err != nil {
		panic(err)
	}
}
