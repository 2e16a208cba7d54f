package deliver

import (
	"os"
	"testing"
	"time"
)

func TestReadProcess(t *testing.T) {
	p, err := readProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if int(p.real) != os.Getuid() || int(p.effective) != os.Geteuid() || p.zombie {
		t.Errorf("got %+v, want our own ids and no zombie", p)
	}
	if age := time.Since(p.started); age < 0 || age > time.Hour {
		t.Errorf("got an age of %s for a process that just started", age)
	}
	if !p.booted.Before(p.started) {
		t.Errorf("started %s, booted %s", p.started, p.booted)
	}
}

func TestParseStat(t *testing.T) {
	tests := []struct {
		name, text string
		want       time.Duration // negative: an error
	}{
		{"a plain name", "7 (app) S 1 2 2 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 150 9 9", 1500 * time.Millisecond},
		{"a name with parentheses and numbers", "7 (a) R 1 (b 2) 3) S 1 2 2 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 150 9 9", 1500 * time.Millisecond},
		{"too few fields", "7 (app) S 1 2 2", -1},
		{"nothing", "", -1},
		{"a start that is no number", "7 (app) S 1 2 2 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 x 9 9", -1},
		{"a start beyond all time", "7 (app) S 1 2 2 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 9223372036854775807 9 9", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, got, err := parseStat(tt.text)
			if tt.want < 0 {
				if err == nil {
					t.Errorf("got %s, want an error", got)
				}
				return
			}
			if state != "S" || got != tt.want || err != nil {
				t.Errorf("got %q %s, error %v, want S %s", state, got, err, tt.want)
			}
		})
	}
}

func TestParseStatus(t *testing.T) {
	real, effective, err := parseStatus("Name:\tx\nUid:\t1000\t33\t33\t33\nGid:\t1\t1\t1\t1\n")
	if real != 1000 || effective != 33 || err != nil {
		t.Errorf("got %d %d, error %v, want 1000 33", real, effective, err)
	}
	for _, text := range []string{"", "Uid:\n", "Uid:\t1\n", "Uid:\tx\t1\n"} {
		if _, _, err := parseStatus(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func FuzzProcess(f *testing.F) {
	f.Add("7 (app) S 1 2 2 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 150 9 9", "Uid:\t0\t0\t0\t0\n")
	f.Fuzz(func(t *testing.T, stat, status string) {
		if _, started, err := parseStat(stat); err == nil && started < 0 {
			t.Errorf("%q: started %s before the boot", stat, started)
		}
		_, _, _ = parseStatus(status) // must not panic
	})
}
