package serve

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// jsonKeys returns the names of all keys of a type as JSON.
func jsonKeys(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return jsonKeys(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var keys []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" {
			keys = append(keys, name)
		}
		if f.Type.PkgPath() != "time" {
			keys = append(keys, jsonKeys(f.Type)...)
		}
	}
	return keys
}

func TestEveryKeyOfTheStatusStandsInOperations(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## How it stands: `status`\n")
	section, _, _ = strings.Cut(section, "\n## ")
	all := jsonKeys(reflect.TypeFor[Status]())
	if len(all) < 25 {
		t.Fatalf("got only %v", all)
	}
	for _, key := range all {
		if !strings.Contains(section, "`"+key+"`") && !strings.Contains(section, "."+key+"`") && !strings.Contains(section, "."+key+".") && !strings.Contains(section, "`"+key+".") {
			t.Errorf("docs/operations.md does not tell of the key %q", key)
		}
	}
}
