package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// podContainer is what the test needs of a container.
type podContainer struct {
	Name         string
	Command      []string
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		SubPath   string `yaml:"subPath"`
	} `yaml:"volumeMounts"`
}

// pod does with a manifest what a kubelet does: it makes the volumes, with the
// owners, modes and links that they have there, and runs containers in a root
// of their own as the pod's user.
type pod struct {
	*scene
	user       string // and group
	containers map[string]podContainer
}

// newPod reads the manifest, and puts the scene's AWS into it.
func newPod(t *testing.T) *pod {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root: no pod can be made")
		}
		t.Skip("not root: no pod can be made")
	}
	p := &pod{scene: newScene(t, ""), containers: map[string]podContainer{}}
	text, err := os.ReadFile("../../configs/kubernetes/billing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var configuration string
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var d struct {
			Data map[string]string
			Spec struct {
				Template struct {
					Spec struct {
						SecurityContext struct {
							RunAsUser string `yaml:"runAsUser"`
						} `yaml:"securityContext"`
						InitContainers []podContainer `yaml:"initContainers"`
					}
				}
			}
		}
		err := documents.Decode(&d)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		configuration += d.Data["outrider.yaml"]
		for _, c := range d.Spec.Template.Spec.InitContainers {
			p.containers[c.Name] = c
			p.user = d.Spec.Template.Spec.SecurityContext.RunAsUser
		}
	}
	p.volumes(configuration)
	return p
}

func (p *pod) volumes(configuration string) {
	p.t.Helper()
	if err := os.Chmod(p.dir, 0o711); err != nil { // the pod's user goes through
		p.t.Fatal(err)
	}
	setup := p.lab.Setup()
	for line, value := range map[string]string{
		"region": setup.Region, "trust_anchor": setup.TrustAnchor, "profile": setup.Profile, "role": setup.Role,
	} {
		before, after, ok := strings.Cut(configuration, "    "+line+": ")
		_, rest, ends := strings.Cut(after, "\n")
		if !ok || !ends {
			p.t.Fatalf("the manifest's configuration has no %s", line)
		}
		configuration = before + "    " + line + ": " + value + "\n" + rest
	}
	configuration = strings.Replace(configuration, "  metrics: 0.0.0.0:9469\n", "", 1)
	p.projected("configuration", 0o644, map[string]string{"outrider.yaml": configuration})
	p.projected("identity", 0o440, map[string]string{"tls.crt": p.read("pki/certificate.pem"), "tls.key": p.read("pki/private_key.pem")})
	p.sh("install -d -o root -g " + p.user + " -m 2777 memory; mkdir -p root/proc root/bin root/lib root/lib64 root/usr/bin; cp " + program + " root/usr/bin/outrider")
}

// projected makes the volume of a config map or a secret, where links lead to
// a folder that is exchanged for another.
func (p *pod) projected(volume string, mode os.FileMode, files map[string]string) {
	p.t.Helper()
	p.sh("install -d -m 1777 " + volume + "; mkdir " + volume + "/..2026; ln -s ..2026 " + volume + "/..data")
	for name, text := range files {
		p.write(filepath.Join(volume, "..2026", name), text)
		p.sh(fmt.Sprintf("chgrp %s %s/..2026/%s; chmod %o %[2]s/..2026/%[3]s; ln -s ..data/%[3]s %[2]s/%[3]s", p.user, volume, name, mode))
	}
}

func (p *pod) sh(script string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "/bin/sh", "-euc", script)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// container returns the command that runs a container. What a volume lacks at
// a subPath is made as wide as the volume is.
func (p *pod) container(name string) *exec.Cmd {
	p.t.Helper()
	c, ok := p.containers[name]
	if !ok {
		p.t.Fatalf("the manifest has no container %s", name)
	}
	script := "mount --rbind /proc root/proc; mount --bind /usr/bin root/bin; mount --bind /usr/lib root/lib; mount --bind /usr/lib64 root/lib64\n"
	for _, m := range c.VolumeMounts {
		source := filepath.Join(m.Name, m.SubPath)
		script += fmt.Sprintf("[ -d %s ] || install -d -g %s -m 2777 %[1]s; mkdir -p root%[3]s; mount --bind %[1]s root%[3]s\n", source, p.user, m.MountPath)
	}
	script += fmt.Sprintf("exec chroot --userspec=%[1]s:%[1]s --groups=%[1]s root \"$@\"", p.user)
	cmd := exec.CommandContext(p.t.Context(), "unshare", append([]string{"--mount", "/bin/sh", "-euc", script, "sh"}, c.Command...)...)
	cmd.Dir, cmd.Env = p.dir, append([]string{"PATH=/bin:/usr/sbin"}, p.env...)
	return cmd
}

// run runs a container to its end.
func (p *pod) run(name string) (string, error) {
	p.t.Helper()
	out, err := p.container(name).CombinedOutput()
	return string(out), err
}

func TestPodOfTheManifestIsSupplied(t *testing.T) {
	p := newPod(t)
	p.put("prod/billing/db", `{"username": "app", "password": "first"}`)
	for _, name := range []string{"folders", "outrider-once"} {
		if out, err := p.run(name); err != nil {
			t.Fatalf("container %s: %v\n%s", name, err, out)
		}
	}
	const file = "memory/billing/app.properties"
	if got, want := p.read(file), "db.username=app\ndb.password=first\n"; got != want {
		t.Fatalf("the file has %d bytes that are not those of the secret's first version", len(got))
	}
	var st unix.Stat_t
	if err := unix.Stat(p.path(file), &st); err != nil || fmt.Sprint(st.Uid) != p.user || st.Mode&0o777 != 0o600 {
		t.Errorf("%v: user %d, mode %o; want %s, 600", err, st.Uid, st.Mode&0o777, p.user)
	}

	sidecar := p.container("outrider")
	if err := sidecar.Start(); err != nil {
		t.Fatal(err)
	}
	p.put("prod/billing/db", `{"username": "app", "password": "second"}`)
	socket := p.path("memory/outrider/outrider.sock")
	if !poll(t.Context(), 50*time.Millisecond, func() bool {
		cmd := exec.CommandContext(t.Context(), program, "refresh", "--socket", socket)
		return cmd.Run() == nil && strings.Contains(p.read(file), "second")
	}) {
		t.Error("the sidecar has not brought the second version")
	}
	if err := sidecar.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := sidecar.Wait(); err != nil {
		t.Errorf("the sidecar ends with %v", err)
	}
}

// Without the first step Kubernetes makes what is mounted, as wide as the
// volume.
func TestPodWithoutFoldersOfItsOwnIsRefused(t *testing.T) {
	p := newPod(t)
	p.put("prod/billing/db", `{"username": "app", "password": "first"}`)
	out, err := p.run("outrider-once")
	if err == nil || !strings.Contains(out, "everybody may replace what stands in it") {
		t.Errorf("once: %v\n%s\nwant a refusal of the folder", err, out)
	}
}
