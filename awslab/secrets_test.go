package awslab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

const (
	tokenA = "aaaaaaaa-0000-4000-8000-000000000000"
	tokenB = "bbbbbbbb-0000-4000-8000-000000000000"
	tokenC = "cccccccc-0000-4000-8000-000000000000"
)

// clock is a lab's time that a test moves.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// create makes a secret "db" whose first version is tokenA.
func create(t *testing.T, lab *Lab) *secretsmanager.Client {
	t.Helper()
	client := sdk(lab, adminKeys(lab))
	_, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("db"), ClientRequestToken: aws.String(tokenA), SecretString: aws.String("first"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestRotationMovesLabelsAsSecretsManagerDoes(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	put := func(token, value string, stages ...string) func() error {
		return func() error {
			_, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{
				SecretId: aws.String("db"), ClientRequestToken: &token, SecretString: &value, VersionStages: stages,
			})
			return err
		}
	}
	move := func(label, to, from string) func() error {
		in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: aws.String("db"), VersionStage: &label}
		if to != "" {
			in.MoveToVersionId = &to
		}
		if from != "" {
			in.RemoveFromVersionId = &from
		}
		return func() error { _, err := client.UpdateSecretVersionStage(t.Context(), in); return err }
	}
	steps := []struct {
		name     string
		do       func() error
		wantCode string
		want     map[string]string // label to the version's first letter; nil: as before
	}{
		{"a pending version leaves the current one", put(tokenB, "second", "AWSPENDING"), "", map[string]string{"AWSCURRENT": "a", "AWSPENDING": "b"}},
		{"the same once more changes nothing", put(tokenB, "second", "AWSPENDING"), "", nil},
		{"other data under the same token is refused", put(tokenB, "other", "AWSPENDING"), "ResourceExistsException", nil},
		{"a move must say where the label is", move("AWSCURRENT", tokenB, ""), "InvalidParameterException", nil},
		{"a move from where the label is not is refused", move("AWSCURRENT", tokenA, tokenB), "InvalidParameterException", nil},
		{"a move to no version is refused", move("AWSCURRENT", tokenC, tokenA), "ResourceNotFoundException", nil},
		{"AWSCURRENT cannot be taken off", move("AWSCURRENT", "", tokenA), "InvalidParameterException", nil},
		{"a move of nothing is refused", move("AWSPENDING", "", ""), "InvalidParameterException", nil},
		{"the move takes AWSPREVIOUS along", move("AWSCURRENT", tokenB, tokenA), "", map[string]string{"AWSCURRENT": "b", "AWSPENDING": "b", "AWSPREVIOUS": "a"}},
		{"the loser of the swap is told", move("AWSCURRENT", tokenB, tokenA), "InvalidParameterException", nil},
		{"a label that is there already stays", move("AWSCURRENT", tokenB, ""), "", nil},
		{"a label can be taken off", move("AWSPENDING", "", tokenB), "", map[string]string{"AWSCURRENT": "b", "AWSPREVIOUS": "a"}},
		{"a plain put becomes current", put(tokenC, "third"), "", map[string]string{"AWSCURRENT": "c", "AWSPREVIOUS": "b"}},
		{"a label goes back to a version that had none", move("AWSCURRENT", tokenA, tokenC), "", map[string]string{"AWSCURRENT": "a", "AWSPREVIOUS": "c"}},
		{"a label of one's own", move("blue", tokenC, ""), "", map[string]string{"AWSCURRENT": "a", "AWSPREVIOUS": "c", "blue": "c"}},
		{"a roll-back swaps the two", move("AWSCURRENT", tokenC, tokenA), "", map[string]string{"AWSCURRENT": "c", "AWSPREVIOUS": "a", "blue": "c"}},
		{"a token that is too short is refused", put("short", "x"), "InvalidParameterException", nil},
	}
	want := map[string]string{}
	for _, step := range steps {
		if got := codeOf(step.do()); got != step.wantCode {
			t.Errorf("%s: got %q, want %q", step.name, got, step.wantCode)
		}
		if step.want != nil {
			want = step.want
		}
		got := map[string]string{}
		for label, id := range lab.Labels("db") {
			got[label] = id[:1]
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: labels (-got +want)\n%s", step.name, diff)
		}
	}
}

func TestAReadFindsItsVersion(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	id, err := lab.PutSecret("db", "second")
	if err != nil {
		t.Fatal(err)
	}
	created, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")})
	if err != nil {
		t.Fatal(err)
	}
	arn := *created.ARN
	if got, want := arn[:len(arn)-6], "arn:aws:secretsmanager:us-east-1:111122223333:secret:db-"; got != want {
		t.Fatalf("ARN begins %s, want %s", got, want)
	}
	tests := []struct {
		name, secret, version, stage string
		want                         string // the value, or the code
	}{
		{"by name", "db", "", "", "second"},
		{"by ARN", arn, "", "", "second"},
		{"by ARN without its end", arn[:len(arn)-7], "", "", "second"},
		{"by ARN with another end", arn[:len(arn)-6] + "000000", "", "", "ResourceNotFoundException"},
		{"by ARN of another region", strings.Replace(arn, "us-east-1", "us-east-2", 1), "", "", "ResourceNotFoundException"},
		{"an older version by label", "db", "", "AWSPREVIOUS", "first"},
		{"an older version by id", "db", tokenA, "", "first"},
		{"id and label of one version", "db", id, "AWSCURRENT", "second"},
		{"id and label of two versions", "db", tokenA, "AWSCURRENT", "InvalidRequestException"},
		{"a label without a version", "db", "", "AWSPENDING", "ResourceNotFoundException"},
		{"an id without a version", "db", tokenC, "", "ResourceNotFoundException"},
		{"no such secret", "dc", "", "", "ResourceNotFoundException"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := &secretsmanager.GetSecretValueInput{SecretId: &test.secret}
			if test.version != "" {
				in.VersionId = &test.version
			}
			if test.stage != "" {
				in.VersionStage = &test.stage
			}
			out, err := client.GetSecretValue(t.Context(), in)
			got := codeOf(err)
			if err == nil {
				got = *out.SecretString
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestANameThatEndsLikeAnARNMisleadsAPartialARN(t *testing.T) {
	lab := newLab(t, Options{})
	if _, err := lab.PutSecret("app-backup", "x"); err != nil {
		t.Fatal(err)
	}
	partial := "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-backup"
	_, err := sdk(lab, adminKeys(lab)).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &partial})
	if got, want := codeOf(err), "ResourceNotFoundException"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBinaryValuesAndTimes(t *testing.T) {
	at := &clock{time.Date(2026, 11, 22, 17, 6, 50, 250e6, time.UTC)}
	lab := newLab(t, Options{Now: at.now})
	value := []byte{0, 1, 0xff}
	if _, err := lab.PutSecretBinary("keystore", value); err != nil {
		t.Fatal(err)
	}
	at.Time = time.Now()
	out, err := sdk(lab, adminKeys(lab)).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("keystore")})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.SecretBinary, value) || out.SecretString != nil {
		t.Error("the bytes did not come back, and alone")
	}
	if got, want := out.CreatedDate.UTC(), time.Date(2026, 11, 22, 17, 6, 50, 250e6, time.UTC); !got.Equal(want) {
		t.Errorf("created %v, want %v", got, want)
	}
}

func TestBatchTellsEachSecretsError(t *testing.T) {
	lab := newLab(t, Options{})
	for _, name := range []string{"a", "b", "c"} {
		if _, err := lab.PutSecret(name, "value of "+name); err != nil {
			t.Fatal(err)
		}
	}
	lab.Deny("GetSecretValue", "b")
	client := sdk(lab, sessionKeys(t, lab))
	out, err := client.BatchGetSecretValue(t.Context(), &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{"a", "b", "c", "d"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range out.SecretValues {
		got[*v.Name] = *v.SecretString
	}
	for _, e := range out.Errors {
		got[*e.SecretId] = *e.ErrorCode
	}
	want := map[string]string{"a": "value of a", "b": "AccessDeniedException", "c": "value of c", "d": "ResourceNotFoundException"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestDenialsAreOfTheRoleAlone(t *testing.T) {
	lab := newLab(t, Options{})
	if _, err := lab.PutSecret("a", "x"); err != nil {
		t.Fatal(err)
	}
	role, admin := sdk(lab, sessionKeys(t, lab)), sdk(lab, adminKeys(lab))
	batch := &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{"a"}}
	lab.Deny("BatchGetSecretValue", "")
	_, err := role.BatchGetSecretValue(t.Context(), batch)
	var denied smithy.APIError
	if !errors.As(err, &denied) || denied.ErrorCode() != "AccessDeniedException" || !strings.Contains(denied.ErrorMessage(), "not authorized to perform: secretsmanager:BatchGetSecretValue") {
		t.Errorf("the role got %v, want AccessDeniedException", err)
	}
	if _, err := role.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("a")}); err != nil {
		t.Errorf("another operation: %v", err)
	}
	if _, err := admin.BatchGetSecretValue(t.Context(), batch); err != nil {
		t.Errorf("the lab's own keys: %v", err)
	}
	lab.AllowAll()
	if _, err := role.BatchGetSecretValue(t.Context(), batch); err != nil {
		t.Errorf("after AllowAll: %v", err)
	}
}

func TestBatchKeepsItsLimits(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	name := []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{"db"}}}
	for what, test := range map[string]struct {
		in   secretsmanager.BatchGetSecretValueInput
		want string
	}{
		"twenty ids":           {secretsmanager.BatchGetSecretValueInput{SecretIdList: slices.Repeat([]string{"db"}, 20)}, ""},
		"twenty-one ids":       {secretsmanager.BatchGetSecretValueInput{SecretIdList: slices.Repeat([]string{"db"}, 21)}, "ValidationException"},
		"neither":              {secretsmanager.BatchGetSecretValueInput{}, "InvalidParameterException"},
		"both":                 {secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{"db"}, Filters: name}, "InvalidParameterException"},
		"pages of a list":      {secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{"db"}, MaxResults: aws.Int32(5)}, "InvalidParameterException"},
		"a page too long":      {secretsmanager.BatchGetSecretValueInput{Filters: name, MaxResults: aws.Int32(21)}, "ValidationException"},
		"a token that is none": {secretsmanager.BatchGetSecretValueInput{Filters: name, NextToken: aws.String("x")}, "InvalidNextTokenException"},
		"an unknown filter":    {secretsmanager.BatchGetSecretValueInput{Filters: []types.Filter{{Key: "colour", Values: []string{"x"}}}}, "ValidationException"},
	} {
		_, err := client.BatchGetSecretValue(t.Context(), &test.in)
		if got := codeOf(err); got != test.want {
			t.Errorf("%s: got %q, want %q", what, got, test.want)
		}
	}
}

func TestFiltersArePrefixesAndPagesMayBeEmpty(t *testing.T) {
	lab := newLab(t, Options{})
	client := sdk(lab, adminKeys(lab))
	for _, s := range []struct{ name, tag string }{{"dev/a", "Environment"}, {"dev/b", ""}, {"prod/a", "Env"}, {"prod/b", "env"}} {
		in := &secretsmanager.CreateSecretInput{Name: &s.name, SecretString: aws.String("x")}
		if s.tag != "" {
			in.Tags = []types.Tag{{Key: &s.tag, Value: aws.String("yes")}}
		}
		if _, err := client.CreateSecret(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		filters []types.Filter
		want    []string
	}{
		{"a name", []types.Filter{{Key: "name", Values: []string{"prod/"}}}, []string{"prod/a", "prod/b"}},
		{"not a name", []types.Filter{{Key: "name", Values: []string{"!prod/"}}}, []string{"dev/a", "dev/b"}},
		{"a tag's key, in its case", []types.Filter{{Key: "tag-key", Values: []string{"Env"}}}, []string{"dev/a", "prod/a"}},
		{"both of two", []types.Filter{{Key: "tag-key", Values: []string{"Env"}}, {Key: "name", Values: []string{"prod"}}}, []string{"prod/a"}},
		{"any of two values", []types.Filter{{Key: "name", Values: []string{"dev/b", "prod/b"}}}, []string{"dev/b", "prod/b"}},
		{"all, whatever the case", []types.Filter{{Key: "all", Values: []string{"ENV"}}}, []string{"dev/a", "prod/a", "prod/b"}},
		{"no secret has an owning service", []types.Filter{{Key: "owning-service", Values: []string{"rds"}}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got, listed []string
			pages := 0
			batch := secretsmanager.NewBatchGetSecretValuePaginator(client, &secretsmanager.BatchGetSecretValueInput{Filters: test.filters, MaxResults: aws.Int32(1)})
			for batch.HasMorePages() {
				page, err := batch.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				pages++
				for _, v := range page.SecretValues {
					got = append(got, *v.Name)
				}
			}
			list := secretsmanager.NewListSecretsPaginator(client, &secretsmanager.ListSecretsInput{Filters: test.filters, MaxResults: aws.Int32(3), SortBy: types.SortByTypeName, SortOrder: types.SortOrderTypeDesc})
			for list.HasMorePages() {
				page, err := list.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range page.SecretList {
					listed = append(listed, *s.Name)
				}
			}
			if diff := cmp.Diff(got, test.want); diff != "" || pages != 4 {
				t.Errorf("batch in %d pages, want 4 (-got +want)\n%s", pages, diff)
			}
			slices.Reverse(listed)
			if diff := cmp.Diff(listed, test.want); diff != "" {
				t.Errorf("list (-got +want)\n%s", diff)
			}
		})
	}
}

func TestDescribeAndListTellVersionsAndLabels(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	second, err := lab.PutSecret("db", "second")
	if err != nil {
		t.Fatal(err)
	}
	third, err := lab.PutSecret("db", "third")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{second: {"AWSPREVIOUS"}, third: {"AWSCURRENT"}}
	described, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(described.VersionIdsToStages, want); diff != "" || described.RotationEnabled != nil || described.DeletedDate != nil {
		t.Errorf("described as %+v, %s", described, diff)
	}
	listed, err := client.ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listed.SecretList[0].SecretVersionsToStages, want); diff != "" {
		t.Errorf("list (-got +want)\n%s", diff)
	}
	for deprecated, count := range map[bool]int{false: 2, true: 3} {
		versions, err := client.ListSecretVersionIds(t.Context(), &secretsmanager.ListSecretVersionIdsInput{SecretId: aws.String("db"), IncludeDeprecated: &deprecated})
		if err != nil || len(versions.Versions) != count {
			t.Errorf("with deprecated %v: %v, want %d versions", deprecated, err, count)
		}
	}
}

func TestLimitsOfASecret(t *testing.T) {
	at := &clock{time.Now()}
	lab := newLab(t, Options{Now: at.now})
	if _, err := lab.PutSecret("large", strings.Repeat("x", 65536)); err != nil {
		t.Errorf("65536 bytes: %v", err)
	}
	if _, err := lab.PutSecret("larger", strings.Repeat("x", 65537)); err == nil || lab.Labels("larger") != nil {
		t.Errorf("65537 bytes: got %v, want an error and no secret", err)
	}
	first, err := lab.PutSecret("db", "x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 19 {
		if err := lab.MoveLabel("db", fmt.Sprintf("label-%d", i), first); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.MoveLabel("db", "one more", first); err == nil {
		t.Error("a secret took 21 labels")
	}
	if _, err := lab.PutSecret("db", "y"); err == nil {
		t.Error("AWSPREVIOUS became a 21st label")
	}

	for i := range maxVersions {
		if _, err := lab.PutSecret("busy", fmt.Sprint(i)); err != nil {
			t.Fatalf("version %d: %v", i, err)
		}
	}
	if _, err := lab.PutSecret("busy", "x"); err == nil || !strings.Contains(err.Error(), "LimitExceededException") {
		t.Errorf("a 101st version within a day: got %v, want LimitExceededException", err)
	}
	at.Time = at.Add(24 * time.Hour)
	if _, err := lab.PutSecret("busy", "x"); err != nil {
		t.Errorf("a 101st version after a day: %v", err)
	}
}

func TestADeletedSecretCanBeRestoredWithinItsWindow(t *testing.T) {
	at := &clock{time.Now()}
	lab := newLab(t, Options{Now: at.now})
	client := create(t, lab)
	get := func() string {
		_, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")})
		return codeOf(err)
	}
	remove := func(days int64) string {
		_, err := client.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String("db"), RecoveryWindowInDays: &days})
		return codeOf(err)
	}
	restore := func() string {
		_, err := client.RestoreSecret(t.Context(), &secretsmanager.RestoreSecretInput{SecretId: aws.String("db")})
		return codeOf(err)
	}
	again := func() string {
		_, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("db"), ClientRequestToken: aws.String(tokenA), SecretString: aws.String("first")})
		return codeOf(err)
	}
	steps := []struct {
		name string
		do   func() string
		want string
	}{
		{"a window too short", func() string { return remove(6) }, "InvalidParameterException"},
		{"the same creation once more", again, ""},
		{"deleted", func() string { return remove(7) }, ""},
		{"deleted twice", func() string { return remove(7) }, "InvalidRequestException"},
		{"read", get, "InvalidRequestException"},
		{"its name is taken", again, "InvalidRequestException"},
		{"restored", restore, ""},
		{"read after it was restored", get, ""},
		{"deleted for good", func() string { return remove(7) }, ""},
	}
	for _, step := range steps {
		if got := step.do(); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
	// Signing uses the real clock, so the end of the window is looked at from inside.
	at.Time = at.Add(7 * 24 * time.Hour)
	if got := lab.Labels("db"); got != nil {
		t.Errorf("after the window the secret still has labels %v", got)
	}
}

func TestCreateUpdateAndTag(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	id := aws.String("db")
	_, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: id, SecretString: aws.String("other")})
	if got, want := codeOf(err), "ResourceExistsException"; got != want {
		t.Errorf("a name twice: got %q, want %q", got, want)
	}
	_, err = client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("a b")})
	if got, want := codeOf(err), "ValidationException"; got != want {
		t.Errorf("a name with a space: got %q, want %q", got, want)
	}
	_, err = client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("two"), SecretString: aws.String("x"), SecretBinary: []byte("x")})
	if got, want := codeOf(err), "InvalidParameterException"; got != want {
		t.Errorf("text and bytes: got %q, want %q", got, want)
	}
	_, err = client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("away"), AddReplicaRegions: []types.ReplicaRegionType{{Region: aws.String("eu-west-3")}}})
	if got, want := codeOf(err), "SerializationException"; got != want {
		t.Errorf("what the lab does not play: got %q, want %q", got, want)
	}
	updated, err := client.UpdateSecret(t.Context(), &secretsmanager.UpdateSecretInput{SecretId: id, Description: aws.String("billing"), SecretString: aws.String("second")})
	if err != nil {
		t.Fatal(err)
	}
	if got := lab.Labels("db"); got["AWSCURRENT"] != *updated.VersionId || got["AWSPREVIOUS"] != tokenA {
		t.Errorf("after the update: labels %v", got)
	}
	tags := []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}, {Key: aws.String("a"), Value: aws.String("3")}}
	if _, err := client.TagResource(t.Context(), &secretsmanager.TagResourceInput{SecretId: id, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UntagResource(t.Context(), &secretsmanager.UntagResourceInput{SecretId: id, TagKeys: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	out, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: id})
	if err != nil {
		t.Fatal(err)
	}
	if *out.Description != "billing" || len(out.Tags) != 1 || *out.Tags[0].Value != "3" {
		t.Errorf("described as %q with %d tags", *out.Description, len(out.Tags))
	}
	_, err = client.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: id})
	if got, want := codeOf(err), "InvalidRequestException"; got != want {
		t.Errorf("a rotation without a function: got %q, want %q", got, want)
	}
}

func TestRandomPasswords(t *testing.T) {
	lab := newLab(t, Options{})
	client := sdk(lab, adminKeys(lab))
	yes := true
	tests := []struct {
		name string
		in   secretsmanager.GetRandomPasswordInput
		want string // its length and kinds of character, or the code
	}{
		{"left to itself", secretsmanager.GetRandomPasswordInput{}, "32 aA0!"},
		{"short, of digits and letters", secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(3), ExcludePunctuation: &yes}, "3 aA0"},
		{"without some characters", secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(300), ExcludeCharacters: aws.String("0123456789"), ExcludeUppercase: &yes}, "300 a!"},
		{"too short for every kind", secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(3)}, "InvalidParameterException"},
		{"of nothing", secretsmanager.GetRandomPasswordInput{ExcludePunctuation: &yes, ExcludeNumbers: &yes, ExcludeUppercase: &yes, ExcludeLowercase: &yes}, "InvalidParameterException"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := client.GetRandomPassword(t.Context(), &test.in)
			got := codeOf(err)
			if err == nil {
				got = kindsOf(*out.RandomPassword)
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func kindsOf(password string) string {
	kinds := fmt.Sprint(len(password), " ")
	for _, kind := range []struct{ sign, chars string }{
		{"a", "abcdefghijklmnopqrstuvwxyz"}, {"A", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, {"0", "0123456789"}, {"!", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
	} {
		if strings.ContainsAny(password, kind.chars) {
			kinds += kind.sign
		}
	}
	return kinds
}
