package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// TestTheDocumentationIsOfThisTable compares docs/configuration.md with what
// the table of keys gives. With -update it writes it.
func TestTheDocumentationIsOfThisTable(t *testing.T) {
	const name = "../../docs/configuration.md"
	want := document(t)
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("got -, want + (go test ./internal/config -update writes it):\n%s", diff)
	}
}

const introduction = `<!-- Made from the table of keys in internal/config by go test ./internal/config -update. -->
# Configuration

outrider reads one file, ` + "`/etc/outrider/outrider.yaml`" + ` unless ` + "`--config`" + ` or ` + "`OUTRIDER_CONFIG`" + ` names another:

` + "```yaml\n%s```" + `

Beside it, ` + "`apps.d/*.yaml`" + ` may hold more apps, such as ` + "`apps.d/billing.yaml`" + `:

` + "```yaml\n%s```" + `

` + "`outrider check`" + ` tells every mistake at once, each as ` + "`file:line:column: key: what is wrong`" + `.

## Rules

- The files are YAML, and so may be JSON. Each holds one document of at most 1 MiB. Anchors, aliases, merge keys and tags
  are refused, a key may stand only once, and what is there must have a value.
- Files in ` + "`apps.d`" + ` are read in the order of their names and hold ` + "`apps`" + ` alone. Hidden files and other endings are left alone. An
  app's name may be given once in all files.
- A path is relative to the file that holds it. In paths, ` + "`state`" + ` and sockets ` + "`%%i`" + ` stands for the instance of a template unit, which the
  unit hands over as ` + "`OUTRIDER_INSTANCE`" + `, and ` + "`%%%%`" + ` for a percent sign. Nothing else is expanded.
- Where ` + "`credential:NAME`" + ` may stand, it is the file NAME of ` + "`$CREDENTIALS_DIRECTORY`" + `, where systemd puts what a unit gets by
  ` + "`LoadCredential`" + `. The variable must be set; a file of that very name is ` + "`./credential:NAME`" + `.
- The program of ` + "`run` and `check`" + ` is a path when it holds a slash; otherwise it is looked for in ` + "`PATH`" + `.
- Durations are Go's: ` + "`30s`, `5m`, `1h30m`" + `.
- Names of identities, roles and apps are at most 64 letters, digits, ` + "`_`, `.` and `-`" + `, and start with a letter or digit. Names of
  secrets are at most 64 letters, digits and ` + "`_`" + `, with no digit first: templates use them.
- Where there is one identity or one role, it need not be named.
- A mode is octal with its leading zero. Put it in quotes, or other tools may make a decimal number of it.
- Two files cannot have one destination, and a destination cannot be a file that outrider reads. With ` + "`layout: directory`" + ` all
  files of an app are in one folder, and nothing else is written into or below it: a symbolic link stands in its place.
- No secret belongs in these files.
- What is marked *not built yet* is known, but refused.

## Identities

An identity is one of three: ` + "`certificate` and `private_key`, `pkcs12`, or `spiffe`" + `. The private key is

- a PEM file;
- ` + "`tpm2:PATH`" + `, a key in TSS2 format that a TPM made, or ` + "`tpm2:0x81000001`" + `, one that the TPM keeps under a persistent handle. The
  TPM is ` + "`/dev/tpmrm0`" + `, or after ` + "`?device=`" + ` another path, ` + "`unix:PATH` or `tcp:ADDRESS:PORT`" + `, as TPMs in software have them;
- ` + "`pkcs11:…`" + `, a key on a token, by its PKCS#11 URI (RFC 7512) with ` + "`module-path`" + `. The PIN is in ` + "`password_file`" + ` or in the file of the URI's ` + "`pin-source`" + `;
  a ` + "`pin-value`" + ` is refused. In the URI, a percent sign has the meaning that the RFC gives it.

## Environment

Endpoints follow the AWS SDKs' convention: ` + "`AWS_ENDPOINT_URL` and, before it, `AWS_ENDPOINT_URL_ROLESANYWHERE`,\n`AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_ENDPOINT_URL_SSM`, `AWS_ENDPOINT_URL_SQS` and `AWS_ENDPOINT_URL_STS`" + `. A role's ` + "`endpoints`" + ` win
over all of them. Plain http is only for loopback. A role with an endpoint of its own, from either, cannot have ` + "`fips` or `dual_stack`" + `.
`

// document gives the whole page.
func document(t *testing.T) string {
	sample := func(name string) string {
		text, err := os.ReadFile("../../configs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, introduction, sample("outrider.yaml"), sample("apps.d/billing.yaml"))
	section(&b, "Keys at the top", "", configTable().rows())
	return b.String()
}

// section writes a table of rows, and the sections of the rows below them.
func section(b *strings.Builder, title, path string, rows []row) {
	fmt.Fprintf(b, "\n## %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", title)
	for _, k := range rows {
		preset, doc := k.preset, k.doc
		switch {
		case k.required:
			preset = "*required*"
		case preset != "":
			preset = "`" + preset + "`"
		}
		if k.unbuilt {
			doc = "*Not built yet.* " + doc
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, k.takes, preset, doc)
	}
	for _, k := range rows {
		if k.inner != nil {
			below := join(path, k.name) + k.step
			section(b, "`"+below+"`", below, k.inner)
		}
	}
}
