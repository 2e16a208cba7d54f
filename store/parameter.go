package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"outrider/secret"
	"outrider/store/internal/wire"
)

// parametersSize is the most names that one GetParameters takes, and the most
// parameters on one page of GetParametersByPath.
const parametersSize = 10

// parameterStore is what Parameter Store is asked. The client is not kept
// itself: where reflection could reach it, the linker would have to keep its
// hundred and fifty operations, too.
type parameterStore struct {
	get    func(context.Context, *ssm.GetParametersInput, ...func(*ssm.Options)) (*ssm.GetParametersOutput, error)
	byPath func(context.Context, *ssm.GetParametersByPathInput, ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error)
}

func newParameterStore(o Options) parameterStore {
	options := ssm.Options{
		Region:      o.Region,
		Credentials: o.Sessions,
		HTTPClient:  &http.Client{Transport: o.Transport, CheckRedirect: wire.Stay},
		Retryer:     aws.NopRetryer{},
	}
	if o.FIPS {
		options.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if o.DualStack {
		options.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if o.SSMEndpoint != "" {
		options.BaseEndpoint = aws.String(o.SSMEndpoint)
	}
	client := ssm.New(options)
	return parameterStore{get: client.GetParameters, byPath: client.GetParametersByPath}
}

// inTens returns the calls that read these parameters, ten names each. What
// made a call fail has one of its own. The names of a call share their next
// look, so that they go on sharing calls.
func inTens(reads []*read) [][]*read {
	var calls [][]*read
	shared := slices.DeleteFunc(slices.Clone(reads), func(r *read) bool { return r.entry.apart })
	for chunk := range slices.Chunk(shared, parametersSize) {
		for _, r := range chunk {
			r.roll = chunk[0].roll
		}
		calls = append(calls, chunk)
	}
	for _, r := range reads {
		if r.entry.apart {
			calls = append(calls, []*read{r})
		}
	}
	return calls
}

// readParameters ends up to ten reads by GetParameters. A call that is refused
// because of one name is made again for each by itself.
func (s *Store) readParameters(ctx context.Context, reads []*read) {
	const operation = "GetParameters"
	in := &ssm.GetParametersInput{WithDecryption: aws.Bool(true)}
	for _, r := range reads {
		in.Names = append(in.Names, r.entry.ref.ID)
	}
	out, err := do(ctx, s, s.callOf(reads[0].entry, operation), func(ctx context.Context, as aws.CredentialsProvider) (*ssm.GetParametersOutput, error) {
		return s.parameters.get(ctx, in, func(o *ssm.Options) { o.Credentials = as })
	})
	if c := classify(err); (c == denied || c == gone) && len(reads) > 1 {
		s.mu.Lock()
		for _, r := range reads {
			r.entry.apart = true // until it is read
		}
		s.mu.Unlock()
		s.carryOut(ctx, fresh{parameters: reads})
		return
	}
	for _, r := range reads {
		v, refusal := secret.Version{}, err
		if err == nil {
			v, refusal = s.found(r.entry.ref, out)
		}
		if refusal != nil {
			refusal = explain(r.entry.ref, operation, refusal)
		}
		s.end(r, v, refusal)
	}
}

// found returns what an answer says of one parameter.
func (s *Store) found(ref secret.Ref, out *ssm.GetParametersOutput) (secret.Version, error) {
	if slices.Contains(out.InvalidParameters, ref.ID) {
		return secret.Version{}, &Error{Ref: ref, Operation: "GetParameters", Code: "ParameterNotFound", Message: "there is no such parameter, or it has no such version or label"}
	}
	i := slices.IndexFunc(out.Parameters, func(p types.Parameter) bool { return isParameter(p, ref.ID) })
	if i < 0 {
		return secret.Version{}, &Error{Ref: ref, Operation: "GetParameters", Message: "the answer does not hold it"}
	}
	return s.parameter(ref, out.Parameters[i])
}

// isParameter reports whether AWS's answer is about the parameter asked for,
// which it names without the selector.
func isParameter(p types.Parameter, id string) bool {
	base, selector := splitParameter(id)
	return aws.ToString(p.Selector) == selector && (aws.ToString(p.ARN) == base || aws.ToString(p.Name) == base ||
		!strings.HasPrefix(base, "arn:") && parameterName(aws.ToString(p.Name)) == parameterName(base))
}

// parameter makes a version of what AWS says of a parameter: its number is the
// id, and its date that of the last change.
func (s *Store) parameter(ref secret.Ref, p types.Parameter) (secret.Version, error) {
	if p.Value == nil || p.Version == 0 {
		return secret.Version{}, &Error{Ref: ref, Operation: "GetParameters", Message: "the answer holds no value"}
	}
	return secret.Version{
		Ref: ref, ID: strconv.FormatInt(p.Version, 10), ARN: aws.ToString(p.ARN), Region: s.regions[0].name,
		Created: aws.ToTime(p.LastModifiedDate), Value: secret.Text(*p.Value),
	}, nil
}

// readPath ends one read of a path.
func (s *Store) readPath(ctx context.Context, r *read) {
	const operation = "GetParametersByPath"
	ref := r.entry.ref
	below, pages, err := s.below(ctx, ref, s.callOf(r.entry, operation))
	if err == nil && len(below) == 0 {
		err = &Error{Ref: ref, Operation: operation, Code: "ParameterNotFound", Message: "there is no parameter below it"}
	}
	if err != nil {
		s.end(r, secret.Version{}, explain(ref, operation, err))
		return
	}
	s.mu.Lock()
	r.entry.pages = pages
	s.mu.Unlock()
	s.end(r, ofPath(ref, s.regions[0].name, below), nil)
}

// below reads what is below a path, page by page. A page may hold less than was
// asked for: only its token tells whether another follows.
func (s *Store) below(ctx context.Context, ref secret.Ref, c call) (below map[string]secret.Version, pages int, err error) {
	const most = 10_000
	path := strings.TrimRight(ref.ID, "/")
	in := &ssm.GetParametersByPathInput{
		Path: aws.String(cmp.Or(path, "/")), Recursive: aws.Bool(ref.Recursive),
		WithDecryption: aws.Bool(true), MaxResults: aws.Int32(parametersSize),
	}
	below = map[string]secret.Version{}
	for pages = 1; pages <= most; pages++ {
		out, err := do(ctx, s, c, func(ctx context.Context, as aws.CredentialsProvider) (*ssm.GetParametersByPathOutput, error) {
			return s.parameters.byPath(ctx, in, func(o *ssm.Options) { o.Credentials = as })
		})
		if err != nil {
			return nil, pages, err
		}
		for _, p := range out.Parameters {
			v, err := s.parameter(ref, p)
			if err != nil {
				return nil, pages, err
			}
			below[strings.TrimPrefix(aws.ToString(p.Name), path+"/")] = v
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return below, pages, nil
		}
	}
	return nil, pages, errors.New("its pages have no end")
}

// ofPath makes one version of all parameters below a path. Its id is a digest
// of their names and numbers, its date that of the latest change.
func ofPath(ref secret.Ref, region string, below map[string]secret.Version) secret.Version {
	digest, latest := sha256.New(), time.Time{}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		v := below[name]
		_, _ = fmt.Fprintf(digest, "%s:%s\n", name, v.ID) // a hash takes everything
		if v.Created.After(latest) {
			latest = v.Created
		}
	}
	return secret.Version{Ref: ref, ID: fmt.Sprintf("%x", digest.Sum(nil)[:16]), Region: region, Created: latest, Below: below}
}
