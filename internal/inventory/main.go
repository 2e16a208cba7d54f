// Package inventory writes down what is in a program that Go built: a bill of materials, and the licences.
package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "inventory:", err) //nolint:forbidigo // main alone has the streams
		os.Exit(1)                                        //nolint:forbidigo // main alone exits
	}
}

// run takes a program, its version, and the files for the licences and the
// bill.
func run(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: inventory PROGRAM VERSION LICENCES BILL")
	}
	program, version, licences, bill := args[0], args[1], args[2], args[3]
	built, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	text, err := licencesOf(built)
	if err != nil {
		return err
	}
	list, err := json.MarshalIndent(billOf(built, version), "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(write(licences, text), write(bill, append(list, '\n')))
}

func write(path string, text []byte) error {
	return os.WriteFile(path, text, 0o644) //nolint:gosec // it is published
}

// legal matches the names of files that must go along with a copy.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)`)

// licencesOf returns the licences of Go and of every module in the program,
// one after the other. A module without any is an error.
func licencesOf(built *debug.BuildInfo) ([]byte, error) {
	var out bytes.Buffer
	root, err := goCommand("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	if err := addLicences(&out, "Go "+built.GoVersion, root); err != nil {
		return nil, err
	}
	for _, m := range built.Deps {
		dir, err := goCommand("list", "-m", "-f", "{{.Dir}}", m.Path)
		if err != nil {
			return nil, err
		}
		if err := addLicences(&out, m.Path+" "+m.Version, dir); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func addLicences(out *bytes.Buffer, name, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("licences of %s: %w", name, err)
	}
	found := false
	for _, f := range files {
		if f.IsDir() || !legal.MatchString(f.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return fmt.Errorf("licences of %s: %w", name, err)
		}
		fmt.Fprintf(out, "==== %s: %s\n\n%s\n\n", name, f.Name(), bytes.TrimSpace(text))
		found = true
	}
	if !found {
		return fmt.Errorf("licences of %s: none in %s", name, dir)
	}
	return nil
}

func goCommand(args ...string) (string, error) {
	out, err := exec.Command("go", args...).Output() //nolint:noctx // it ends by itself
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// document is a bill of materials (CycloneDX 1.6,
// https://cyclonedx.org/docs/1.6/json/), without time and serial number: the
// same program has the same bill.
type document struct {
	BOMFormat   string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	PURL       string     `json:"purl,omitempty"` // https://github.com/package-url/purl-spec
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func billOf(built *debug.BuildInfo, version string) document {
	d := document{BOMFormat: "CycloneDX", SpecVersion: "1.6", Version: 1}
	d.Metadata.Component = component{Type: "application", Name: built.Main.Path, Version: version}
	for _, s := range built.Settings {
		if strings.HasPrefix(s.Key, "GO") || s.Key == "CGO_ENABLED" {
			d.Metadata.Component.Properties = append(d.Metadata.Component.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	standard := strings.TrimPrefix(built.GoVersion, "go")
	d.Components = append(d.Components, component{Type: "library", Name: "stdlib", Version: standard, PURL: "pkg:golang/stdlib@" + standard})
	for _, m := range built.Deps {
		// The sum is that of go.sum, which is no plain hash of a file.
		sum := []property{{"go:sum", m.Sum}}
		d.Components = append(d.Components, component{"library", m.Path, m.Version, "pkg:golang/" + m.Path + "@" + m.Version, sum})
	}
	return d
}
