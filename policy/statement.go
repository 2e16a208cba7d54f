package policy

import (
	"maps"
	"slices"

	"outrider/secret"
)

// trust admits Roles Anywhere for this certificate alone, under this trust
// anchor alone.
//
// Source: https://docs.aws.amazon.com/rolesanywhere/latest/userguide/trust-model.html
func (r Role) trust() Statement {
	s := Statement{
		Sid: "RolesAnywhere", Effect: "Allow",
		Principal: map[string]string{"Service": "rolesanywhere.amazonaws.com"},
		Action:    []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"},
		Condition: Condition{"ArnEquals": {"aws:SourceArn": unique(r.TrustAnchors)}},
	}
	if r.Subject.Tag != "" {
		s.Condition["StringEquals"] = map[string][]string{"aws:PrincipalTag/" + r.Subject.Tag: {r.Subject.Value}}
	}
	return s
}

// trusting admits the role before. The source identity that Roles Anywhere
// has set goes along, which both ends must allow.
//
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html
func trusting(before string) Statement {
	return Statement{
		Sid: "RoleBefore", Effect: "Allow",
		Principal: map[string]string{"AWS": before},
		Action:    []string{"sts:AssumeRole", "sts:SetSourceIdentity"},
	}
}

func assuming(next string) Statement {
	return Statement{
		Sid: "AssumeNextRole", Effect: "Allow",
		Action: []string{"sts:AssumeRole", "sts:SetSourceIdentity"}, Resource: []string{next},
	}
}

// reading allows what the references need, and the queue.
func (r Role) reading() []Statement {
	var all []Statement
	allow := func(sid string, resources []string, actions ...string) {
		if len(resources) > 0 {
			all = append(all, Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources})
		}
	}
	secrets := r.secretARNs()
	allow("ReadSecrets", secrets, "secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret")
	if n := r.batched(); n > 1 {
		all = append(all, batches())
	}
	var named, paths []string
	for _, ref := range r.Refs {
		switch ref.Kind {
		case secret.Parameter:
			named = append(named, r.parameterARN(ref.ID))
		case secret.Parameters:
			paths = append(paths, r.pathARNs(ref.ID)...)
		}
	}
	named, paths = unique(named), unique(paths)
	allow("ReadParameters", named, "ssm:GetParameters")
	allow("ReadParameterPaths", paths, "ssm:GetParametersByPath")
	if len(secrets) > 0 {
		all = append(all, r.decrypt("DecryptSecrets", "secretsmanager", secrets, append([]string{r.Region}, r.Fallback...)))
	}
	if parameters := unique(slices.Concat(named, paths)); len(parameters) > 0 {
		all = append(all, r.decrypt("DecryptParameters", "ssm", parameters, []string{r.Region}))
	}
	if r.Queue != "" {
		allow("ReceiveEvents", []string{r.Queue}, "sqs:ReceiveMessage", "sqs:DeleteMessage")
	}
	return all
}

// batches allows cold starts in twenties. IAM grants this action on every
// resource or none; which secrets it returns is up to GetSecretValue.
func batches() Statement {
	return Statement{
		Sid: "ReadSecretsInBatches", Effect: "Allow",
		Action: []string{"secretsmanager:BatchGetSecretValue"}, Resource: []string{"*"},
	}
}

// batched counts the references that a batch can read.
func (r Role) batched() int {
	n := 0
	for _, ref := range r.Refs {
		if ref.Kind == secret.SecretsManager && ref.VersionID == "" && ref.Stage == secret.Current {
			n++
		}
	}
	return n
}

// decrypt allows the keys of the resources' accounts, but only through the
// service, which decrypts nothing that the role may not read there.
//
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
func (r Role) decrypt(sid, service string, resources, regions []string) Statement {
	keys, via := map[string]bool{}, map[string]bool{}
	for _, region := range regions {
		for _, resource := range resources {
			if a := split(resource); a.region == region {
				keys["arn:"+a.partition+":kms:"+region+":"+a.account+":key/*"] = true
			}
		}
		// In some partitions services call themselves by their own domain, in
		// some not.
		for _, suffix := range []string{"amazonaws.com", suffixOf(r.partition())} {
			via[service+"."+region+"."+suffix] = true
		}
	}
	return Statement{
		Sid: sid, Effect: "Allow", Action: []string{"kms:Decrypt"}, Resource: slices.Sorted(maps.Keys(keys)),
		Condition: Condition{"StringEquals": {"kms:ViaService": slices.Sorted(maps.Keys(via))}},
	}
}

func unique(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
