package awslab

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
)

func parameterStore(lab *Lab, keys aws.Credentials) *ssm.Client {
	return ssm.New(ssm.Options{
		Region:      lab.setup.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil }),
		HTTPClient:  &http.Client{Transport: lab.RoundTripper()},
		Retryer:     aws.NopRetryer{},
	})
}

// putAll gives parameters of type String their values, in order.
func putAll(t *testing.T, lab *Lab, nameAndValue ...string) {
	t.Helper()
	for pair := range slices.Chunk(nameAndValue, 2) {
		if _, err := lab.PutParameter(pair[0], pair[1], ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPutParameterKeepsItsRules(t *testing.T) {
	lab := newLab(t, Options{})
	client := parameterStore(lab, adminKeys(lab))
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name            string
		parameter, text string
		kind            types.ParameterType
		tier            types.ParameterTier
		overwrite       bool
		want            string // version and tier, or the code
	}{
		{"a new one is version 1", "/prod/a", "x", "String", "", false, "1 Standard"},
		{"it is not overwritten unasked", "/prod/a", "y", "String", "", false, "ParameterAlreadyExists"},
		{"the same value makes a version too", "/prod/a", "x", "", "", true, "2 Standard"},
		{"its type stays", "/prod/a", "x", "SecureString", "", true, "HierarchyTypeMismatchException"},
		{"a new one needs a type", "/prod/b", "x", "", "", true, "ValidationException"},
		{"a type that is none", "/prod/b", "x", "Number", "", false, "ValidationException"},
		{"4 KB", "/prod/large", long(4096), "String", "", false, "1 Standard"},
		{"more than 4 KB", "/prod/larger", long(4097), "String", "Standard", false, "ValidationException"},
		{"more than 4 KB, advanced", "/prod/larger", long(8192), "String", "Advanced", false, "1 Advanced"},
		{"more than 8 KB", "/prod/largest", long(8193), "String", "Advanced", false, "ValidationException"},
		{"there is no way back to standard", "/prod/larger", "x", "", "Standard", true, "ValidationException"},
		{"the tier stays", "/prod/larger", "x", "", "", true, "2 Advanced"},
		{"a tier as it needs", "/prod/clever", long(5000), "String", "Intelligent-Tiering", false, "1 Advanced"},
		{"an empty value", "/prod/c", "", "String", "", false, "ValidationException"},
		{"a value that nests", "/prod/c", "{{ssm:/prod/a}}", "String", "", false, "ValidationException"},
		{"a plain name", "plain", "x", "StringList", "", false, "1 Standard"},
		{"a name not from the top", "prod/c", "x", "String", "", false, "ValidationException"},
		{"a name with a space", "/prod/a b", "x", "String", "", false, "ValidationException"},
		{"a name with an empty level", "/prod//c", "x", "String", "", false, "ValidationException"},
		{"a name with an end but none", "/prod/", "x", "String", "", false, "ValidationException"},
		{"a reserved name", "/AWS/c", "x", "String", "", false, "ValidationException"},
		{"another reserved name", "ssm-c", "x", "String", "", false, "ValidationException"},
		{"fifteen levels", strings.Repeat("/l", 15), "x", "String", "", false, "1 Standard"},
		{"sixteen levels", strings.Repeat("/l", 16), "x", "String", "", false, "HierarchyLevelLimitExceededException"},
		{"a name too long", "/" + long(1011), "x", "String", "", false, "ValidationException"},
		{"an ARN is no name", "arn:aws:ssm:us-east-1:111122223333:parameter/x", "x", "String", "", false, "ValidationException"},
	}
	for _, test := range tests {
		out, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: &test.parameter, Value: &test.text, Type: test.kind, Tier: test.tier, Overwrite: &test.overwrite,
		})
		got := codeOf(err)
		if err == nil {
			got = fmt.Sprint(out.Version, " ", out.Tier)
		}
		if got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestAParameterIsReadByNameARNAndSelector(t *testing.T) {
	lab := newLab(t, Options{})
	putAll(t, lab, "/prod/db", "first", "/prod/db", "second", "plain", "bare")
	if err := lab.LabelParameter("/prod/db", "blue", 1); err != nil {
		t.Fatal(err)
	}
	client := parameterStore(lab, adminKeys(lab))
	const arn = "arn:aws:ssm:us-east-1:111122223333:parameter/"
	tests := []struct{ name, id, want string }{
		{"by name", "/prod/db", "/prod/db second 2 "},
		{"by version", "/prod/db:1", "/prod/db first 1 :1"},
		{"by label", "/prod/db:blue", "/prod/db first 1 :blue"},
		{"by ARN", arn + "prod/db", "/prod/db second 2 "},
		{"by ARN and version", arn + "prod/db:1", "/prod/db first 1 :1"},
		{"a plain name by ARN", arn + "plain", "plain bare 1 "},
		{"a version that is not there", "/prod/db:3", "ParameterVersionNotFound"},
		{"a label that is not there", "/prod/db:green", "ParameterVersionNotFound"},
		{"no such parameter", "/prod/dc", "ParameterNotFound"},
		{"an ARN of another region", "arn:aws:ssm:us-east-2:111122223333:parameter/prod/db", "ParameterNotFound"},
		{"no possible name", "prod db", "ValidationException"},
	}
	for _, test := range tests {
		out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &test.id})
		got := codeOf(err)
		if err == nil {
			p := out.Parameter
			got = fmt.Sprint(*p.Name, " ", *p.Value, " ", p.Version, " ", aws.ToString(p.Selector))
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestOnlyDecryptionShowsASecureString(t *testing.T) {
	lab := newLab(t, Options{})
	if _, err := lab.PutParameter("/s", "open sesame", TypeSecureString); err != nil {
		t.Fatal(err)
	}
	client := parameterStore(lab, adminKeys(lab))
	for decrypted, want := range map[bool]bool{false: false, true: true} {
		out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/s"), WithDecryption: &decrypted})
		if err != nil {
			t.Fatal(err)
		}
		if got := *out.Parameter.Value == "open sesame"; got != want || out.Parameter.Type != types.ParameterTypeSecureString {
			t.Errorf("with decryption %v: shown = %v, want %v", decrypted, got, want)
		}
	}
}

func TestGetParametersTellsWhichAreInvalid(t *testing.T) {
	lab := newLab(t, Options{})
	putAll(t, lab, "/b", "1", "/b", "2", "/a", "1")
	client := parameterStore(lab, adminKeys(lab))
	get := func(names ...string) (*ssm.GetParametersOutput, error) {
		return client.GetParameters(t.Context(), &ssm.GetParametersInput{Names: names})
	}
	out, err := get("/b:1", "/none", "/b:blue", "/a", "/b", "/b")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range out.Parameters {
		got = append(got, *p.Name+aws.ToString(p.Selector)+"="+*p.Value)
	}
	if diff := cmp.Diff(got, []string{"/a=1", "/b=2", "/b:1=1"}); diff != "" {
		t.Errorf("parameters, sorted by name alone (-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(out.InvalidParameters, []string{"/b:blue", "/none"}); diff != "" {
		t.Errorf("invalid (-got +want)\n%s", diff)
	}
	if _, err := get(slices.Repeat([]string{"/a"}, 10)...); err != nil {
		t.Errorf("ten names: %v", err)
	}
	if _, err := get(slices.Repeat([]string{"/a"}, 11)...); codeOf(err) != "ValidationException" {
		t.Errorf("eleven names: got %v, want ValidationException", err)
	}
}

func TestPagesByPathFollowTheToken(t *testing.T) {
	lab := newLab(t, Options{})
	var all, direct []string
	for i := range 13 {
		direct = append(direct, fmt.Sprintf("/app/p%02d", i))
		all = append(all, direct[i], fmt.Sprintf("/app/sub/q%02d", i))
	}
	slices.Sort(all)
	for _, name := range append(all, "/app", "/apple", "/other/x") {
		putAll(t, lab, name, "x")
	}
	client := parameterStore(lab, adminKeys(lab))
	for _, test := range []struct {
		name, path string
		recursive  bool
		short      bool
		want       []string
		wantPages  int
	}{
		{"direct children", "/app", false, false, direct, 2},
		{"a slash at the end", "/app/", false, false, direct, 2},
		{"recursive", "/app", true, false, all, 3},
		{"short pages and empty ones", "/app", true, true, all, 12},
		{"nothing there", "/nothing", true, false, nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.SetShortPages(test.short)
			var got []string
			pages := 0
			pager := ssm.NewGetParametersByPathPaginator(client, &ssm.GetParametersByPathInput{Path: &test.path, Recursive: &test.recursive})
			for pager.HasMorePages() {
				page, err := pager.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				pages++
				for _, p := range page.Parameters {
					got = append(got, *p.Name)
				}
			}
			if diff := cmp.Diff(got, test.want); diff != "" || pages != test.wantPages {
				t.Errorf("in %d pages, want %d (-got +want)\n%s", pages, test.wantPages, diff)
			}
		})
	}
	for name, in := range map[string]*ssm.GetParametersByPathInput{
		"ValidationException":            {Path: aws.String("app")},
		"ValidationException of a page":  {Path: aws.String("/app"), MaxResults: aws.Int32(11)},
		"InvalidNextToken":               {Path: aws.String("/app"), NextToken: aws.String("x")},
		"ValidationException of a level": {Path: aws.String("/app//x")},
	} {
		_, err := client.GetParametersByPath(t.Context(), in)
		if want, _, _ := strings.Cut(name, " "); codeOf(err) != want {
			t.Errorf("got %q, want %s", codeOf(err), name)
		}
	}
}

func TestParameterLabelsMoveAndKeepTheirRules(t *testing.T) {
	lab := newLab(t, Options{})
	putAll(t, lab, "/a", "1", "/a", "2")
	client := parameterStore(lab, adminKeys(lab))
	label := func(version int64, labels ...string) (*ssm.LabelParameterVersionOutput, error) {
		in := &ssm.LabelParameterVersionInput{Name: aws.String("/a"), Labels: labels}
		if version != 0 {
			in.ParameterVersion = &version
		}
		return client.LabelParameterVersion(t.Context(), in)
	}
	out, err := label(0, "blue", "1st", "aws-x", "no good")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(out.InvalidLabels, []string{"1st", "aws-x", "no good"}); diff != "" || out.ParameterVersion != 2 {
		t.Errorf("of version %d, want 2; invalid (-got +want)\n%s", out.ParameterVersion, diff)
	}
	if _, err := label(1, "blue"); err != nil {
		t.Fatal(err)
	}
	read, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/a:blue")})
	if err != nil || read.Parameter.Version != 1 {
		t.Errorf("after the move: %v, want version 1", err)
	}
	var ten []string
	for i := range 10 {
		ten = append(ten, fmt.Sprintf("l%d", i))
	}
	for _, step := range []struct {
		name    string
		version int64
		labels  []string
		want    string
	}{
		{"an eleventh label", 1, ten, "ParameterVersionLabelLimitExceeded"},
		{"ten labels", 2, ten, ""},
		{"eleven at once", 2, append(ten, "more"), "ValidationException"},
		{"a version that is not there", 3, ten, "ParameterVersionNotFound"},
	} {
		if _, err := label(step.version, step.labels...); codeOf(err) != step.want {
			t.Errorf("%s: got %q, want %q", step.name, codeOf(err), step.want)
		}
	}
}

func TestAHundredVersionsAreKept(t *testing.T) {
	lab := newLab(t, Options{})
	put := func() error { _, err := lab.PutParameter("/a", "x", ""); return err }
	for range maxHistory {
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.LabelParameter("/a", "keep", 2); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("a 101st version: %v, want the first dropped", err)
	}
	if err := put(); err == nil || !strings.Contains(err.Error(), "ParameterMaxVersionLimitExceeded") {
		t.Errorf("a 102nd version, the oldest labelled: got %v, want ParameterMaxVersionLimitExceeded", err)
	}
	if err := lab.LabelParameter("/a", "gone", 1); err == nil {
		t.Error("a version that was dropped took a label")
	}
}

func TestADeletedParameterIsGone(t *testing.T) {
	lab := newLab(t, Options{})
	putAll(t, lab, "/a", "1", "/b", "1")
	client := parameterStore(lab, adminKeys(lab))
	lab.DeleteParameter("/a")
	for _, want := range []string{"", "ParameterNotFound"} {
		if _, err := client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("/b")}); codeOf(err) != want {
			t.Errorf("got %q, want %q", codeOf(err), want)
		}
	}
	out, err := client.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{"/a", "/b"}})
	if err != nil || len(out.InvalidParameters) != 2 {
		t.Errorf("read after that: %v, want two invalid parameters", err)
	}
	if version, err := lab.PutParameter("/a", "x", ""); err != nil || version != 1 {
		t.Errorf("made anew as version %d (%v), want 1", version, err)
	}
}

func TestOneDeniedParameterDeniesTheCallButNotItsPath(t *testing.T) {
	lab := newLab(t, Options{})
	putAll(t, lab, "/a/x", "1", "/a/y", "1")
	client := parameterStore(lab, sessionKeys(t, lab))
	lab.Deny("ssm.GetParameters", "/a/x")
	lab.Deny("GetParametersByPath", "/a/x")
	lab.Deny("GetParameter", "arn:aws:ssm:us-east-1:111122223333:parameter/a/y")
	get := func(names ...string) error {
		_, err := client.GetParameters(t.Context(), &ssm.GetParametersInput{Names: names})
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
		want string
	}{
		{"with the denied one", func() error { return get("/a/x:1", "/a/y") }, "AccessDeniedException"},
		{"without it", func() error { return get("/a/y") }, ""},
		{"by path", func() error {
			_, err := client.GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String("/a")})
			return err
		}, ""},
		{"by ARN denied, by name asked", func() error {
			_, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/a/y")})
			return err
		}, "AccessDeniedException"},
	} {
		if got := codeOf(step.do()); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}
