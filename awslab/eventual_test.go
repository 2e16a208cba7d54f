package awslab

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"
)

func TestReadsAfterAChangeTakeTurnsBetweenOldAndNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		keys := adminKeys(lab)
		secrets, store := sdk(lab, keys), parameterStore(lab, keys)
		first, err := lab.PutSecret("db", "old")
		if err != nil {
			t.Fatal(err)
		}
		putAll(t, lab, "/p", "old")
		reads := []struct {
			name string
			read func() string
		}{
			{"GetSecretValue", func() string {
				out, err := secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")})
				if err != nil {
					return codeOf(err)
				}
				return *out.SecretString
			}},
			{"BatchGetSecretValue", func() string {
				out, err := secrets.BatchGetSecretValue(t.Context(), &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{"db"}})
				if err != nil {
					return codeOf(err)
				}
				return *out.SecretValues[0].SecretString
			}},
			{"DescribeSecret", func() string {
				out, err := secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")})
				if err != nil {
					return codeOf(err)
				}
				if stages := out.VersionIdsToStages[first]; len(stages) == 1 && stages[0] == "AWSCURRENT" {
					return "old"
				}
				return "new"
			}},
			{"GetParameters", func() string {
				out, err := store.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{"/p"}})
				if err != nil {
					return codeOf(err)
				}
				return *out.Parameters[0].Value
			}},
		}
		time.Sleep(time.Hour)
		lab.SetStaleness(5 * time.Second)
		change := func() {
			if _, err := lab.PutSecret("db", "new"); err != nil {
				t.Fatal(err)
			}
			putAll(t, lab, "/p", "new")
		}
		change()
		for _, after := range []struct {
			wait time.Duration
			want []string
		}{{0, []string{"old", "new", "old", "new"}}, {4 * time.Second, []string{"old", "new", "old", "new"}}, {time.Second, []string{"new", "new", "new", "new"}}} {
			time.Sleep(after.wait)
			for _, r := range reads {
				var got []string
				for range 4 {
					got = append(got, r.read())
				}
				if diff := cmp.Diff(got, after.want); diff != "" {
					t.Errorf("%s %v later (-got +want)\n%s", r.name, after.wait, diff)
				}
			}
		}
		if _, err := lab.PutSecret("fresh", "x"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 2 {
			_, err := secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("fresh")})
			got = append(got, codeOf(err))
		}
		if diff := cmp.Diff(got, []string{"ResourceNotFoundException", ""}); diff != "" {
			t.Errorf("a new secret (-got +want)\n%s", diff)
		}
	})
}

func TestAClockSetBackChangesNoValue(t *testing.T) {
	lab := newLab(t, Options{})
	putAll(t, lab, "/p", "old", "/p", "new")
	store := parameterStore(lab, adminKeys(lab))
	lab.SetSkew(-4 * time.Minute) // within what a signature may be off
	out, err := store.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/p")})
	if err != nil || *out.Parameter.Value != "new" {
		t.Errorf("got %v, want the new value", err)
	}
}

func TestQuotasRefillOnTheLabsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		putAll(t, lab, "/p", "x")
		store := parameterStore(lab, adminKeys(lab))
		many := func(n int) (passed int) {
			for range n {
				_, err := store.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{"/p"}})
				if err == nil {
					passed++
				} else if codeOf(err) != "ThrottlingException" {
					t.Errorf("got %v, want ThrottlingException", err)
				}
			}
			return passed
		}
		if got := many(200); got != 200 {
			t.Errorf("without quotas %d of 200 passed", got)
		}
		lab.EnableQuotas()
		if got, want := many(100), 40; got != want {
			t.Errorf("%d passed at once, want %d", got, want)
		}
		if _, err := store.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/p")}); codeOf(err) != "ThrottlingException" {
			t.Errorf("GetParameter, which shares the quota: got %v, want ThrottlingException", err)
		}
		time.Sleep(time.Second / 2)
		if got, want := many(100), 20; got != want {
			t.Errorf("%d passed half a second later, want %d", got, want)
		}
		if err := lab.SetQuota("ssm.GetParameters", 0.5); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0, 1} {
			if got := many(3); got != want {
				t.Errorf("at one every other second %d passed, want %d", got, want)
			}
			time.Sleep(time.Second)
		}
		if got, want := lab.Throttled()["ssm.GetParameters"], 60+80+7; got != want {
			t.Errorf("%d throttled, want %d", got, want)
		}
		if err := lab.SetQuota("ssm.GetParameters", 0); err != nil || many(100) != 100 {
			t.Errorf("without its quota: %v, or calls refused", err)
		}
		for _, bad := range []string{"GetParameters", "ssm.Nothing", "s3.GetObject", ""} {
			if err := lab.SetQuota(bad, 1); err == nil {
				t.Errorf("SetQuota(%q) = nil, want an error", bad)
			}
		}
	})
}

func TestEveryDocumentedQuotaIsOfAnOperation(t *testing.T) {
	for _, q := range documentedQuotas() {
		for _, name := range q.operations {
			service, operation, _ := strings.Cut(name, ".")
			if !(call{service: service, operation: operation}).played() {
				t.Errorf("%s: not an operation of the lab", name)
			}
		}
	}
}

func TestAReplicaHasTheSameVersionsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		there, err := lab.Neighbor("eu-west-3")
		if err != nil {
			t.Fatal(err)
		}
		old, err := lab.PutSecret("db", "old")
		if err != nil {
			t.Fatal(err)
		}
		if err := lab.Replicate("db", there); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		there.SetReplicationLag(10 * time.Second)
		client := sdk(there, adminKeys(there))
		arn := strings.Replace(lab.vault.secrets["db"].arn, "us-east-1", "eu-west-3", 1)
		read := func() string {
			out, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &arn})
			if err != nil {
				return codeOf(err)
			}
			if *out.ARN != arn {
				t.Errorf("the replica's ARN is %s, want %s", *out.ARN, arn)
			}
			return fmt.Sprint(*out.SecretString, " ", *out.VersionId)
		}
		moved, err := lab.PutSecret("db", "new")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"old " + old, "old " + old, "new " + moved} {
			if got := read(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			time.Sleep(5 * time.Second)
		}
		described, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")})
		if err != nil || aws.ToString(described.PrimaryRegion) != "us-east-1" || described.ReplicationStatus != nil {
			t.Errorf("described as %+v (%v), want a replica of us-east-1", described, err)
		}
		listed, err := client.ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
		if err != nil || len(listed.SecretList) != 1 || *listed.SecretList[0].ARN != arn || len(listed.SecretList[0].SecretVersionsToStages) != 2 {
			t.Errorf("listed as %+v (%v), want the replica", listed, err)
		}
		home, err := sdk(lab, adminKeys(lab)).DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")})
		if err != nil || len(home.ReplicationStatus) != 1 || *home.ReplicationStatus[0].Region != "eu-west-3" {
			t.Errorf("the primary is described as %+v (%v), want one replica", home, err)
		}
		writes := map[string]func() error{
			"a value": func() error {
				_, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String("db"), SecretString: aws.String("x")})
				return err
			},
			"a deletion": func() error {
				_, err := client.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String("db")})
				return err
			},
		}
		_, err = sdk(lab, adminKeys(lab)).DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String("db")})
		if got, want := codeOf(err), "InvalidParameterException"; got != want {
			t.Errorf("a deletion of the primary: got %q, want %q", got, want)
		}
		for what, write := range writes {
			if got, want := codeOf(write()), "InvalidRequestException"; got != want {
				t.Errorf("%s at the replica: got %q, want %q", what, got, want)
			}
		}
		if _, err := there.PutSecret("db", "x"); err == nil {
			t.Error("PutSecret wrote a replica")
		}
		other := newLab(t, Options{Region: "eu-west-1"})
		if lab.Replicate("db", other) == nil || lab.Replicate("db", there) == nil || lab.Replicate("none", there) == nil {
			t.Error("a secret was replicated to where it cannot be")
		}
	})
}

func TestDescribeTellsOfTheRotationSchedule(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	lab.Deny("DescribeSecret", "db")
	role := sdk(lab, sessionKeys(t, lab))
	if _, err := role.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")}); codeOf(err) != "AccessDeniedException" {
		t.Errorf("got %v, want AccessDeniedException", err)
	}
	if _, err := role.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")}); err != nil {
		t.Errorf("a read where only the description is denied: %v", err)
	}
	next := time.Date(2026, 12, 1, 23, 59, 59, 0, time.UTC)
	for _, at := range []time.Time{next, {}} {
		if err := lab.SetRotation("db", at); err != nil {
			t.Fatal(err)
		}
		out, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("db")})
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToTime(out.NextRotationDate); !got.Equal(at) || aws.ToBool(out.RotationEnabled) == at.IsZero() || out.RotationEnabled == nil {
			t.Errorf("next rotation %v, enabled %v; want %v", got, aws.ToBool(out.RotationEnabled), at)
		}
	}
}
