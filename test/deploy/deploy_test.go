// Package deploy checks the files in deploy/ against what they are for.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sluicegate/sluice/internal/config"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// object is one of Kubernetes.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Selector any
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
				Containers                    []struct {
					Args  []string
					Env   []struct{ Name string }
					Ports []struct{ Name string }
				}
			}
		}
	}
}

// What Kubernetes is told fits together, and the configuration in it is one that the program accepts.
func TestKubernetes(t *testing.T) {
	objects := map[string]object{}
	dec := yaml.NewDecoder(bytes.NewReader(read(t, "kubernetes/sluice.yaml")))
	for {
		var o object
		err := dec.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		objects[o.Kind] = o
	}
	for _, kind := range []string{"ConfigMap", "Secret", "ServiceAccount", "Deployment", "PodDisruptionBudget", "Service"} {
		if objects[kind].Metadata.Name != "sluice" {
			t.Errorf("there is no %s named sluice", kind)
		}
	}
	pod := objects["Deployment"].Spec.Template.Spec
	given := map[string]bool{}
	for _, e := range pod.Containers[0].Env {
		given[e.Name] = true
	}
	env := func(name string) (string, bool) { return "secret", given[name] }
	cfg, err := config.Parse("sluice.yaml", []byte(objects["ConfigMap"].Data["sluice.yaml"]), env, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("the configuration has warnings: %v", cfg.Warnings)
	}
	if grace := float64(pod.TerminationGracePeriodSeconds); grace <= cfg.ShutdownTimeout.Seconds()+5 {
		t.Errorf("the pod is killed after %v s, and stopping may take 5 s and %v", grace, cfg.ShutdownTimeout)
	}
}

// The unit is one that systemd takes, and that it finds well locked up.
func TestSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (in Debian's package systemd): the unit is not verified")
	}
	dir := t.TempDir()
	unit := filepath.Join(dir, "sluice.service")
	text := strings.ReplaceAll(string(read(t, "systemd/sluice.service")), "/usr/local/bin/sluice", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "sluice.service:") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit).CombinedOutput()
	if err != nil {
		t.Errorf("its exposure is above 2.0 of 10: %v\n%s", err, out)
	}
}
