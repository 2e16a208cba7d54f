package fence

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBlocks(t *testing.T) {
	page := "text\n" +
		"<!-- e2e: host -->\n```sh\ncat <<'EOF'\n\n  two\nEOF\n```\n" +
		"<!-- of nothing -->\n\n```\nplain\n```\n" +
		"1. list\n\n   ```yaml\n   a:\n     b: 1\n   ```\n" +
		"```sh\nnever closed\n"
	want := []Block{
		{Line: 4, Language: "sh", Mark: "e2e: host", Text: "cat <<'EOF'\n\n  two\nEOF\n"},
		{Line: 12, Text: "plain\n"},
		{Line: 17, Language: "yaml", Text: "a:\n  b: 1\n"},
	}
	if diff := cmp.Diff(want, Blocks(page)); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
}
