package config

import (
	"fmt"
	"regexp"
	"strings"
)

// arn is an Amazon Resource Name split at its first five colons.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
type arn struct {
	partition, service, region, account, resource string
}

func parseARN(text string) (arn, bool) {
	p := strings.SplitN(text, ":", 6)
	if len(p) != 6 || p[0] != "arn" || !strings.HasPrefix(p[1], "aws") || !spelled(p[1]+p[3], "-") || !isAccount(p[4]) {
		return arn{}, false
	}
	return arn{partition: p[1], service: p[2], region: p[3], account: p[4], resource: p[5]}, true
}

func isAccount(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

// arnOf takes the ARN of one kind of resource, whose model also is its
// description.
func arnOf(model string) kind[string] {
	want := strings.SplitN(model, ":", 6)
	prefix, _, _ := strings.Cut(want[5], "ID")
	return kind[string]{takes: "`" + model + "`", parse: func(_ *source, text string) (string, error) {
		a, ok := parseARN(text)
		id, prefixed := strings.CutPrefix(a.resource, prefix)
		if !ok || a.service != want[2] || (a.region == "") != (want[3] == "") || !prefixed || !spelled(id, "/_+=,.@-") {
			return "", fmt.Errorf("%q does not look like %s", text, model)
		}
		return text, nil
	}}
}

func trustAnchor() kind[string] {
	return arnOf("arn:aws:rolesanywhere:REGION:ACCOUNT:trust-anchor/ID")
}

func profile() kind[string] {
	return arnOf("arn:aws:rolesanywhere:REGION:ACCOUNT:profile/ID")
}

func roleARN() kind[string] { return arnOf("arn:aws:iam::ACCOUNT:role/ID") }

func region() kind[string] {
	form := regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	return kind[string]{takes: "region", parse: func(_ *source, text string) (string, error) {
		if !form.MatchString(text) {
			return "", fmt.Errorf("%q is not a region, such as eu-west-3", text)
		}
		return text, nil
	}}
}

// partition returns the partition that a region lies in, or nothing for the
// isolated ones, which nobody outside can look up.
func partition(region string) string {
	switch {
	case strings.Contains(region, "-iso"):
		return ""
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc"
	default:
		return "aws"
	}
}

// misplaced says why an ARN cannot be used from the region of its owner, a
// role or fallback, or nothing. An ARN without a region, such as a role's,
// need only share the partition.
func misplaced(text, region, owner string) string {
	a, ok := parseARN(text)
	if !ok || region == "" {
		return "" // one of them is missing, or a mistake of its own
	}
	if a.region != "" && a.region != region {
		return fmt.Sprintf("is in region %s, but its %s is in %s", a.region, owner, region)
	}
	if p := partition(region); p != "" && p != a.partition {
		return fmt.Sprintf("is in partition %s, but region %s is in %s", a.partition, region, p)
	}
	return ""
}
