package render

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostile returns templates that would take a host's memory or time, or end
// the process, and what the error must name.
func hostile() map[string][2]string {
	const many, steps, text, deep, nest = "more than 5000000 values in one", "more than 5000000 steps", "more than 8 MiB of text", "nest more than 1000 deep, or one is in itself", "templates nest more than 100 deep"
	const blocks = "blocks and parentheses nest more than 1000 deep"
	const big = `{{ $big := repeat 80000 (repeat 100 "x") }}`
	const circle = `{{ $d := dict }}{{ $x := set $d "a" $d }}`
	const doubled = `{{ $d := dict "a" 1 }}{{ range loop 40 }}{{ $d = dict "a" $d "b" $d }}{{ end }}`
	within := func(before, inner, after string, n int) string {
		return strings.Repeat(before, n) + inner + strings.Repeat(after, n)
	}
	var tower strings.Builder
	tower.WriteString(`{{ define "0" }}{{ end }}`)
	for i := range 50 {
		fmt.Fprintf(&tower, `{{ define "%d" }}{{ template "%d" }}{{ template "%d" }}{{ end }}`, i+1, i, i)
	}
	return map[string][2]string{
		"a loop in a loop":                 {`{{ range loop 100000 }}{{ range loop 100000 }}{{ end }}{{ end }}`, steps},
		"a loop in a loop over numbers":    {`{{ range 100000 }}{{ range 100000 }}{{ $x := 1 }}{{ end }}{{ end }}`, steps},
		"a loop with much in it":           {`{{ $x := 1 }}{{ range 100000 }}` + strings.Repeat(`{{ $x = 2 }}`, 1000) + `{{ end }}`, steps},
		"templates that call each twice":   {tower.String() + `{{ template "50" }}`, steps},
		"a template that calls itself":     {`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, nest},
		"one that does within blocks":      {`{{ define "a" }}` + within("{{ if 1 }}", `{{ template "a" }}`, "{{ end }}", 900) + `{{ end }}{{ template "a" }}`, nest},
		"one that does within parentheses": {`{{ define "a" }}{{ ` + within("(", `executeTemplate "a"`, ")", 900) + ` }}{{ end }}{{ template "a" }}`, nest},
		"the whole calls itself":           {`{{ template "" }}`, nest},
		"blocks within blocks":             {within("{{ if 1 }}", "", "{{ end }}", 60_000), blocks},
		"branches without end":             {"{{ if 0 }}" + strings.Repeat("{{ else if 0 }}", 60_000) + "{{ end }}", blocks},
		"parentheses within parentheses":   {"{{ " + within("(", "1", ")", 9_000) + " }}", blocks},
		"a result of gigabytes":            {`{{ range loop 100000 }}{{ range loop 100 }}` + strings.Repeat("x", 1000) + `{{ end }}{{ end }}`, "the result is larger than 8 MiB"},
		"a result of a template":           {`{{ define "a" }}{{ range loop 100000 }}` + strings.Repeat("x", 1000) + `{{ end }}{{ end }}{{ executeTemplate "a" }}`, "the result is larger than 8 MiB"},
		"a text that doubles":              {`{{ $s := "x" }}{{ range loop 60 }}{{ $s = print $s $s }}{{ end }}`, text},
		"a text repeated and repeated":     {`{{ repeat 100000 (repeat 100000 "x") }}`, steps},
		"many large texts":                 {big + `{{ range loop 100000 }}{{ $x := toUpper $big }}{{ end }}`, steps},
		"many large texts as keys":         {big + `{{ $d := dict }}{{ range loop 100000 }}{{ $x := hasKey $d $big }}{{ end }}`, steps},
		"a long text in the place of each": {big + `{{ replaceAll "x" $big $big }}`, steps},
		"and by an expression":             {big + `{{ regexReplaceAll "x" $big $big }}`, steps},
		"and between all":                  {`{{ $s := repeat 100000 "x" }}{{ join $s (split "" $s) }}`, steps},
		"an expression that repeats":       {big + `{{ regexMatch "(((x{30}){30})?){1000}y" $big }}`, steps},
		"lines that are indented":          {`{{ indent 100000 (repeat 100000 "x\n") }}`, steps},
		"widths of a million":              {`{{ printf (repeat 500 "%999999d") }}`, steps},
		"widths from arguments":            {`{{ range loop 50 }}{{ $x := printf (repeat 50 "%[1]*[1]d") 999999 }}{{ end }}`, text},
		"a list of lists that doubles":     {doubled + `{{ toJSON $d }}`, many},
		"its text":                         {doubled + `{{ print $d }}`, many},
		"its comparison":                   {doubled + `{{ deepEqual $d (dict "a" $d) }}`, many},
		"an object in itself as YAML":      {circle + `{{ toYAML $d }}`, deep},
		"an object in itself as TOML":      {circle + `{{ toTOML $d }}`, deep},
		"an object in itself as text":      {circle + `{{ print $d }}`, deep},
		"an object in itself copied":       {circle + `{{ $x := deepCopy $d }}`, deep},
		"an object in itself merged":       {circle + `{{ $x := mergeMap (dict) $d }}`, deep},
		"an object in itself, kept":        {`{{ scratch.Set "a" dict }}{{ scratch.MapSet "a" "a" (scratch.Get "a") }}{{ print scratch }}`, deep},
		"equals sought among many":         {`{{ uniq (until 100000) }}`, steps},
		"many sought among many":           {`{{ containsAll (until 50000) (until 50000) }}`, steps},
		"keys that take long to derive":    {`{{ range loop 100000 }}{{ derivePassword 1 "long" "a" "b" "c" }}{{ end }}`, steps},
		"a document that repeats its own":  {`{{ $y := "a0: &a0 [x]\n" }}{{ range $i, $n := loop 1 30 }}{{ $y = printf "%sa%d: &a%d [*a%d , *a%d ]\n" $y $n $n $i $i }}{{ end }}{{ $x := parseYAML $y }}`, "its argument is not YAML"},
	}
}

// processor returns how much of the processor's time this process has had: how
// busy the machine is elsewhere does not count.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestHostileTemplatesAreBounded also fails when one of them ends the test's
// process.
func TestHostileTemplatesAreBounded(t *testing.T) {
	for name, h := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := processor(t)
			_, err := render(h[0])
			took := processor(t) - began
			runtime.ReadMemStats(&after)
			t.Logf("%8.3fs %6d MiB", took.Seconds(), (after.TotalAlloc-before.TotalAlloc)>>20)
			if err == nil || !strings.Contains(err.Error(), h[1]) || !strings.HasPrefix(err.Error(), "t:1:") {
				t.Errorf("got %.200v, want a place and %q", err, h[1])
			}
			if took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			runtime.GC()
		})
	}
}
