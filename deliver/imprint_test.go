package deliver

import (
	"strings"
	"testing"

	"outrider/secret"
)

func TestAnImprintTellsValuesApartAndHoldsNone(t *testing.T) {
	state, err := OpenState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	of := func(value string) File {
		return state.Imprint("billing", map[string]secret.Value{"db": secret.Text(value), "web": secret.Text("same")})
	}
	first, again, other := of("hunter2"), of("hunter2"), of("hunter3")
	if !first.Content.Equal(again.Content) || first.Content.Equal(other.Content) {
		t.Error("the imprint is not that of the values")
	}
	text := string(first.Content.Reveal())
	if strings.Contains(text, "hunter2") || !strings.HasPrefix(text, "db ") || strings.Count(text, "\n") != 2 {
		t.Errorf("got %q, want a line for each name and no value", text)
	}
	ledger, err := state.Open("billing", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	preview := func(value string) string {
		dir := state.dir.Name()
		previews, err := PreviewImprint(dir, "billing", map[string]secret.Value{"db": secret.Text(value), "web": secret.Text("same")})
		if err != nil || len(previews) != 2 {
			t.Fatalf("%d previews, %v", len(previews), err)
		}
		return string(previews[0].Effect + ", " + previews[1].Effect)
	}
	if got := preview("hunter2"); got != "created, created" {
		t.Errorf("before the first: %s", got)
	}
	defer func() {
		for value, want := range map[string]string{"hunter3": "unchanged, unchanged", "hunter2": "changed, unchanged"} {
			if got := preview(value); got != want {
				t.Errorf("in the end %s, want %s", got, want)
			}
		}
	}()
	for _, tc := range []struct {
		name string
		file File
		want uint64
	}{{"the first is news", first, 1}, {"the same is none", again, 0}, {"another is news", other, 2}} {
		staged, err := ledger.Stage([]File{tc.file})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ledger.Commit(staged, Plan{}); got != tc.want || err != nil {
			t.Errorf("%s: generation %d, %v, want %d", tc.name, got, err, tc.want)
		}
	}
}
