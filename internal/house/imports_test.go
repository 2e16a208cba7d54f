package house

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rooms is the table of allowed imports: each package with the packages of
// ours that it imports, then the modules of others. A new package, a new
// import and an allowance that nobody uses any more all fail until the table
// says so.
func rooms() map[string][]string {
	const (
		aws            = "github.com/aws/aws-sdk-go-v2"
		secretsmanager = "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
		sqs            = "github.com/aws/aws-sdk-go-v2/service/sqs"
		ssm            = "github.com/aws/aws-sdk-go-v2/service/ssm"
		smithy         = "github.com/aws/smithy-go"
		rolesanywhere  = "github.com/aws/rolesanywhere-credential-helper"
		cobra          = "github.com/spf13/cobra"
		sprig          = "github.com/Masterminds/sprig/v3"
		age            = "filippo.io/age"
		mergo          = "dario.cat/mergo"
		toml           = "github.com/BurntSushi/toml"
		yaml           = "go.yaml.in/yaml/v3"
		fsnotify       = "github.com/fsnotify/fsnotify"
		systemd        = "github.com/coreos/go-systemd/v22"
		dbus           = "github.com/godbus/dbus/v5"
		mysql          = "github.com/go-sql-driver/mysql"
		xsys           = "golang.org/x/sys"
		xsync          = "golang.org/x/sync"
		xcrypto        = "golang.org/x/crypto"
		pkcs12         = "software.sslmate.com/src/go-pkcs12"
		gotpm          = "github.com/google/go-tpm"
		sts            = "github.com/aws/aws-sdk-go-v2/service/sts"
		shell          = "mvdan.cc/sh/v3"
		gospiffe       = "github.com/spiffe/go-spiffe/v2"
		grpc           = "google.golang.org/grpc"
		prometheus     = "github.com/prometheus/client_golang"
	)
	return map[string][]string{
		"agent":                  {"audit", "cost", "deliver", "doctor", "internal/config", "internal/credfile", "internal/watch", "meter", "policy", "refresher", "render", "sealed", "secret", "serve", "session", "signer", "signer/source", "store", "store/events", "verify", aws, xsync, xsys},
		"audit":                  {"internal/remedy"},
		"awslab":                 {},
		"cmd/outrider":           {"agent", "awslab", "confine", "cost", "deliver", "doctor", "internal/config", "internal/journal", "policy", "secret", "serve", cobra, systemd, xsync, xsys},
		"cost":                   {"refresher"},
		"confine":                {xsys},
		"deliver":                {"internal/child", "internal/remedy", "secret", dbus, xsys},
		"doctor":                 {},
		"internal/bench":         {"signer", xsync, xsys},
		"internal/child":         {xsys},
		"internal/clocktest":     {},
		"internal/config":        {"secret", xsys, yaml},
		"internal/credfile":      {"secret"},
		"internal/e2e":           {},
		"internal/faulttest":     {},
		"internal/fence":         {},
		"internal/fleet":         {"refresher"},
		"internal/hosttest":      {},
		"internal/house":         {},
		"internal/journal":       {xsys},
		"internal/inventory":     {},
		"internal/line":          {},
		"internal/localfault":    {},
		"internal/machinetest":   {},
		"internal/mariadbtest":   {"internal/porttest", mysql, xsys},
		"internal/pkitest":       {gospiffe, grpc},
		"internal/porttest":      {},
		"internal/programtest":   {"go.uber.org/goleak"},
		"internal/remedy":        {},
		"internal/soaktest":      {},
		"internal/watch":         {fsnotify},
		"meter":                  {"serve", aws, prometheus},
		"policy":                 {"secret"},
		"refresher":              {},
		"render":                 {"secret", mergo, sprig, toml, yaml, shell},
		"sealed":                 {"deliver", "secret", age},
		"secret":                 {},
		"serve":                  {"secret", xsys},
		"session":                {"internal/line", "internal/remedy", "secret", "signer", aws, sts, rolesanywhere, smithy},
		"signer":                 {"secret", pkcs12, xcrypto},
		"signer/internal/device": {"secret"},
		"signer/pkcs11":          {"signer/internal/device"}, // and a binding, in the build with PKCS#11
		"signer/source":          {"secret", "signer", "signer/internal/device", "signer/pkcs11", "signer/spiffe", "signer/tpm"},
		"signer/spiffe":          {},
		"signer/tpm":             {"secret", "signer/internal/device", gotpm},
		"store":                  {"internal/remedy", "refresher", "secret", "store/internal/wire", aws, secretsmanager, ssm, smithy},
		"store/events":           {"internal/remedy", "secret", "store", "store/internal/wire", aws, smithy, sqs},
		"store/internal/wire":    {"internal/line", aws, smithy},
		"verify":                 {"internal/child", "render", "secret", mysql},
	}
}

// outOfReach lists the packages of the standard library that would let a
// package do what its sentence does not say.
func outOfReach() map[string][]string {
	return map[string][]string{
		"secret":                 {"net", "net/http", "os", "os/exec"},
		"signer":                 {"net", "os", "os/exec"},
		"signer/internal/device": {"net", "net/http", "os", "os/exec"},
		"signer/pkcs11":          {"net", "net/http", "os/exec"},
		"signer/source":          {"net", "net/http", "os/exec"},
		"signer/spiffe":          {"os/exec"},
		"signer/tpm":             {"net/http", "os/exec"},
		"session":                {"os", "os/exec"},
		"store":                  {"io/fs", "os", "os/exec", "path/filepath"},
		"store/events":           {"io/fs", "os", "os/exec", "path/filepath"},
		"refresher":              {"net", "net/http", "os", "os/exec"},
		"render":                 {"net", "net/http", "os", "os/exec"},
		"deliver":                {"net/http"},
		"policy":                 {"net", "net/http", "os", "os/exec"},
		"cost":                   {"net", "net/http", "os", "os/exec"},
		"doctor":                 {"os", "os/exec"},
		"verify":                 {"net/http"},
		"meter":                  {"net", "os", "os/exec"},
		"audit":                  {"net", "net/http", "os/exec"},
		"internal/journal":       {"net/http", "os", "os/exec"},
	}
}

func TestEachPackageImportsWhatItsSentenceNeeds(t *testing.T) {
	all := packages(t)
	got := map[string][]string{}
	for _, p := range all {
		if !p.Module.Main {
			continue
		}
		imports := []string{}
		for _, path := range p.Imports {
			switch q := all[path]; {
			case q.Module.Main:
				imports = append(imports, q.name())
			case !q.Standard:
				imports = append(imports, q.Module.Path)
			}
		}
		slices.Sort(imports)
		got[p.name()] = slices.Compact(imports)
	}
	want := rooms()
	for _, imports := range want {
		slices.Sort(imports)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("imports differ from the table (-table +code); a new package needs its sentence first:\n%s", diff)
	}
}

func TestNoPackageReachesBeyondItsSentence(t *testing.T) {
	all := packages(t)
	for name, denied := range outOfReach() {
		for _, path := range all[module+"/"+name].Imports {
			if slices.Contains(denied, path) {
				t.Errorf("%s imports %s: no part of its sentence", name, path)
			}
		}
	}
}
