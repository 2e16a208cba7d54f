package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAQueuesURLSaysWhereItIs(t *testing.T) {
	for name, tc := range map[string]struct {
		url  string
		want QueuePlace
	}{
		"AWS's own": {"https://sqs.eu-west-1.amazonaws.com/111122223333/q",
			QueuePlace{"eu-west-1", "111122223333", "https://sqs.eu-west-1.amazonaws.com"}},
		"FIPS": {"https://sqs-fips.us-east-1.amazonaws.com/111122223333/q",
			QueuePlace{"us-east-1", "111122223333", "https://sqs-fips.us-east-1.amazonaws.com"}},
		"dual stack": {"https://sqs.eu-west-1.api.aws/111122223333/q.fifo",
			QueuePlace{"eu-west-1", "111122223333", "https://sqs.eu-west-1.api.aws"}},
		"a VPC endpoint": {"https://vpce-1a-2b.sqs.eu-west-1.vpce.amazonaws.com/111122223333/q",
			QueuePlace{"eu-west-1", "111122223333", "https://vpce-1a-2b.sqs.eu-west-1.vpce.amazonaws.com"}},
		"an old name": {"https://eu-west-1.queue.amazonaws.com/111122223333/q",
			QueuePlace{"eu-west-1", "111122223333", ""}},
		"loopback is in the role's region": {"http://127.0.0.1:4566/111122223333/q",
			QueuePlace{"eu-west-3", "111122223333", "http://127.0.0.1:4566"}},
		"and so is a name of one's own": {"https://sqs.example.com/111122223333/q",
			QueuePlace{"eu-west-3", "111122223333", "https://sqs.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := write(t, map[string]string{
				"outrider.yaml": head + "  web:\n" + secrets + files + "watch: {queue: \"" + tc.url + "\"}\n",
			})
			c, err := Load(folder+"/outrider.yaml", noEnvironment)
			if err != nil {
				t.Fatal(err)
			}
			want := Watch{Interval: c.Watch.Interval, Queue: tc.url, Role: "billing", Place: tc.want}
			if diff := cmp.Diff(c.Watch, want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}
