package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"outrider/serve"
)

func TestColoursMoveNoColumn(t *testing.T) {
	ended := time.Now().Add(-time.Hour)
	status := serve.Status{
		Version: "v1", Identities: map[string]serve.Identity{"host": {Subject: "CN=host", NotAfter: &ended}},
		Apps: map[string]serve.App{
			"billing": {State: serve.Current, Generation: 4}, "current": {State: serve.Failing, Error: "one\ntwo"},
			"new": {State: serve.Starting}, "web": {State: serve.SetAside},
		},
		Watch: serve.Watch{Queue: serve.Queue{URL: "https://q", State: serve.Receiving}},
	}
	var table bytes.Buffer
	if err := writeTable(&table, status); err != nil {
		t.Fatal(err)
	}
	painted := paint(table.String())
	for _, want := range []string{
		red + "outrider v1, not ready" + plain, bold + "APP ", green + "current" + plain + "    4", "current  " + red + "failing" + plain,
		red + "  ! two" + plain, yellow + "starting" + plain, red + "set_aside" + plain, green + "receiving" + plain, red + "host ",
	} {
		if !strings.Contains(painted, want) {
			t.Errorf("no %q in\n%s", want, painted)
		}
	}
	for _, code := range []string{plain, bold, red, green, yellow} {
		painted = strings.ReplaceAll(painted, code, "")
	}
	if painted != table.String() {
		t.Errorf("without its colours the table is another:\n%s\n%s", painted, table.String())
	}
}

func TestOnlyATerminalGetsColours(t *testing.T) {
	o := &options{streams: streams{getenv: func(string) string { return "" }}}
	if o.coloured(&bytes.Buffer{}) {
		t.Error("a buffer is to get colours")
	}
}

func TestTableTellsHowSecretsAreLookedAt(t *testing.T) {
	next := time.Now().Add(time.Minute + 100*time.Millisecond)
	var table bytes.Buffer
	err := writeTable(&table, serve.Status{Apps: map[string]serve.App{"billing": {Next: &next, Secrets: map[string]serve.Secret{
		"a": {Rung: "push", Region: "eu-west-3"}, "b": {Rung: "push", Region: "eu-central-1"}, "c": {Rung: "get", Region: "eu-west-3"},
	}}, "empty": {}}})
	want := "  secrets 1 by get, 2 by push from eu-central-1, eu-west-3, next look in 1m0s\nempty "
	if err != nil || !strings.Contains(table.String(), want) {
		t.Errorf("%v; no %q in\n%s", err, want, table.String())
	}
}
