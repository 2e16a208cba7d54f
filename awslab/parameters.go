package awslab

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The types of a parameter.
const (
	TypeString       = "String"
	TypeStringList   = "StringList"
	TypeSecureString = "SecureString"
)

// Limits of Parameter Store.
const (
	standardTier      = "Standard"
	advancedTier      = "Advanced"
	standardValue     = 4096 // bytes
	advancedValue     = 8192 // bytes
	standardCount     = 10000
	maxParameterName  = 1011 // characters, those of the ARN before it counted
	maxLevels         = 15
	maxHistory        = 100
	maxVersionLabels  = 10
	maxParameterLabel = 100 // characters
)

var (
	parameterName  = regexp.MustCompile(`^[A-Za-z0-9_.-]+$|^(/[A-Za-z0-9_.-]+)+$`)
	reservedName   = regexp.MustCompile(`(?i)^/?(aws|ssm)`)
	parameterLabel = regexp.MustCompile(`^[A-Za-z_.-][A-Za-z0-9_.-]*$`)
)

// parameters is Parameter Store of one account in one region, by name.
type parameters struct {
	prefix string // of the ARNs
	byName map[string]*parameter
	short  bool // pages by path hold less than was asked for
	pages  int  // that were given out
}

// parameter is one parameter with its versions, oldest first. A version's
// number is no index: the oldest are dropped.
type parameter struct {
	name, arn   string
	kind        string
	tier        string
	description string
	versions    []*parameterVersion
	labels      map[string]int64 // label to version
	history     history[*parameter]
}

type parameterVersion struct {
	number  int64
	value   string
	changed time.Time
}

func newParameters(region, account string) *parameters {
	return &parameters{prefix: "arn:aws:ssm:" + region + ":" + account + ":parameter", byName: map[string]*parameter{}}
}

// arnOf puts one slash between the prefix and the name, wherever it is from.
func (p *parameters) arnOf(name string) string {
	return p.prefix + "/" + strings.TrimPrefix(name, "/")
}

// split takes a name or ARN and the selector behind it apart. The name of an
// ARN is looked up, since foo and /foo have the same one.
func (p *parameters) split(id string) (name, selector string) {
	name = id
	if rest, ok := strings.CutPrefix(id, p.prefix+"/"); ok {
		name = rest
	} else if strings.HasPrefix(id, "arn:") {
		return id, "" // of another account or region, and not found there
	}
	name, selector, _ = strings.Cut(name, ":")
	if name != id && strings.HasPrefix(id, "arn:") && p.byName[name] == nil {
		name = "/" + name
	}
	return name, selector
}

// find returns the parameter that a name or ARN without selector is of.
func (p *parameters) find(id string) *parameter {
	name, selector := p.split(id)
	if selector != "" {
		return nil
	}
	return p.byName[name]
}

func (p *parameter) latest() *parameterVersion { return p.versions[len(p.versions)-1] }

func (p *parameter) version(number int64) *parameterVersion {
	i := slices.IndexFunc(p.versions, func(v *parameterVersion) bool { return v.number == number })
	if i < 0 {
		return nil
	}
	return p.versions[i]
}

// pick finds the version that a selector asks for; empty is the latest.
func (p *parameter) pick(selector string) (*parameterVersion, error) {
	if selector == "" {
		return p.latest(), nil
	}
	number, err := strconv.ParseInt(selector, 10, 64)
	if err != nil {
		number = p.labels[selector]
	}
	if v := p.version(number); v != nil {
		return v, nil
	}
	return nil, &apiError{code: "ParameterVersionNotFound", message: fmt.Sprintf(
		"Systems Manager could not find version %s of %s. Verify the version and try again.", selector, p.name)}
}

// labelsOf returns the labels of a version, sorted.
func (p *parameter) labelsOf(number int64) []string {
	var on []string
	for label, at := range p.labels {
		if at == number {
			on = append(on, label)
		}
	}
	slices.Sort(on)
	return on
}

// copied is the parameter as it is now, for its history.
func (p *parameter) copied() *parameter {
	return &parameter{
		name: p.name, arn: p.arn, kind: p.kind, tier: p.tier, description: p.description,
		versions: slices.Clone(p.versions), labels: maps.Clone(p.labels),
	}
}

// ciphertext looks like what KMS made of a version's value.
func (v *parameterVersion) ciphertext(arn string) string {
	digest := sha256.Sum256([]byte(arn + ":" + strconv.FormatInt(v.number, 10)))
	return base64.StdEncoding.EncodeToString(append([]byte{1, 2, 2, 0, 0x78}, slices.Repeat(digest[:], 4)...))
}

// checkParameterName keeps the rules for a new parameter.
func (p *parameters) checkParameterName(name string) error {
	switch {
	case strings.Contains(name, "/") && !strings.HasPrefix(name, "/"):
		return errValidation("Parameter name must be a fully qualified name.")
	case !parameterName.MatchString(name):
		return errValidation("Parameter name: may only contain letters, digits, '.', '-', '_' and '/', and no empty level.")
	case len(p.arnOf(name)) > maxParameterName:
		return errValidation("Parameter name: with the rest of its ARN it may have %d characters.", maxParameterName)
	case reservedName.MatchString(name):
		return errValidation(`Parameter name: can't be prefixed with "aws" or "ssm" (case-insensitive).`)
	case strings.Count(name, "/") > maxLevels:
		return &apiError{code: "HierarchyLevelLimitExceededException", message: fmt.Sprintf("A hierarchy can have a maximum of %d levels.", maxLevels)}
	}
	return nil
}

// put is one PutParameter.
type put struct {
	name, value string
	kind, tier  string // empty: what the parameter has
	description string
	overwrite   bool
}

// put adds a version, and the parameter when there is none of that name.
func (p *parameters) put(in put, now time.Time) (*parameter, error) {
	if err := p.checkParameterName(in.name); err != nil {
		return nil, err
	}
	at := p.byName[in.name]
	kinds := []string{TypeString, TypeStringList, TypeSecureString}
	switch {
	case at != nil && !in.overwrite:
		return nil, &apiError{code: "ParameterAlreadyExists", message: "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."}
	case at == nil && in.kind == "":
		return nil, errValidation("A parameter type is required when you create a parameter.")
	case in.kind != "" && !slices.Contains(kinds, in.kind):
		return nil, errValidation("type: must be one of %s", strings.Join(kinds, ", "))
	case at != nil && in.kind != "" && in.kind != at.kind:
		return nil, &apiError{code: "HierarchyTypeMismatchException", message: "Parameter Store doesn't support changing a parameter's type."}
	case strings.Contains(in.value, "{{"):
		return nil, errValidation(`Parameter value can't nest another parameter. Do not use "{{}}" in the value.`)
	}
	tier, err := p.tierFor(at, in)
	if err != nil {
		return nil, err
	}
	if at == nil {
		at = &parameter{name: in.name, arn: p.arnOf(in.name), kind: in.kind, labels: map[string]int64{}}
	}
	if err := at.add(in.value, now); err != nil {
		return nil, err
	}
	at.tier = tier
	if in.description != "" {
		at.description = in.description
	}
	p.byName[in.name] = at
	return at, nil
}

// tierFor returns the tier that the parameter has after a put.
func (p *parameters) tierFor(at *parameter, in put) (string, error) {
	tier := in.tier
	switch {
	case at != nil && tier == standardTier && at.tier == advancedTier:
		return "", errValidation("This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.")
	case at != nil && tier == "":
		tier = at.tier
	case tier == "":
		tier = standardTier
	}
	most := standardValue
	switch tier {
	case standardTier:
	case advancedTier:
		most = advancedValue
	case "Intelligent-Tiering":
		if tier = standardTier; len(in.value) > standardValue || (at != nil && at.tier == advancedTier) {
			tier, most = advancedTier, advancedValue
		}
	default:
		return "", errValidation("tier: must be Standard, Advanced or Intelligent-Tiering")
	}
	if len(in.value) == 0 || len(in.value) > most {
		return "", errValidation("%s tier parameters support a value of 1 to %d characters.", tier, most)
	}
	if at == nil && tier == standardTier && len(p.byName) >= standardCount {
		return "", &apiError{code: "ParameterLimitExceeded", message: fmt.Sprintf("You have reached the maximum of %d parameters.", standardCount)}
	}
	return tier, nil
}

// add puts a version on top. Once there are a hundred the oldest goes, unless
// it has a label.
func (p *parameter) add(value string, now time.Time) error {
	if len(p.versions) == maxHistory && len(p.labelsOf(p.versions[0].number)) > 0 {
		return &apiError{code: "ParameterMaxVersionLimitExceeded", message: fmt.Sprintf(
			"Version %d, the oldest version of %s, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again.",
			p.versions[0].number, p.name)}
	}
	v := &parameterVersion{number: 1, value: value, changed: now}
	if len(p.versions) == 0 {
		p.history.record(now, nil)
	} else {
		p.history.record(now, p.copied())
		v.number = p.latest().number + 1
	}
	p.versions = append(p.versions, v)
	if len(p.versions) > maxHistory {
		p.versions = slices.Delete(p.versions, 0, 1)
	}
	return nil
}

// label moves labels to a version and returns those that may be none. Zero is
// the latest version.
func (p *parameter) label(names []string, number int64, now time.Time) (invalid []string, err error) {
	if number == 0 {
		number = p.latest().number
	}
	if p.version(number) == nil {
		return nil, &apiError{code: "ParameterVersionNotFound", message: fmt.Sprintf(
			"Systems Manager could not find version %d of %s. Verify the version and try again.", number, p.name)}
	}
	moved := maps.Clone(p.labels)
	for _, name := range names {
		if len(name) > maxParameterLabel || !parameterLabel.MatchString(name) || reservedName.MatchString(name) {
			invalid = append(invalid, name)
			continue
		}
		moved[name] = number
	}
	before := p.copied()
	after := &parameter{labels: moved}
	if len(after.labelsOf(number)) > maxVersionLabels {
		return nil, &apiError{code: "ParameterVersionLabelLimitExceeded", message: fmt.Sprintf("A parameter version can have a maximum of %d labels.", maxVersionLabels)}
	}
	if !maps.Equal(moved, p.labels) {
		p.history.record(now, before)
		p.labels = moved
	}
	return invalid, nil
}

// PutParameter gives a parameter a new value, and makes it when it is not
// there. An empty type is that of the parameter, String for a new one. It
// returns the version, which counts from 1.
func (l *Lab) PutParameter(name, value, kind string) (version int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.parameters.byName[name]
	if old == nil && kind == "" {
		kind = TypeString
	}
	p, err := l.parameters.put(put{name: name, value: value, kind: kind, overwrite: true}, l.nowLocked())
	if err != nil {
		return 0, fmt.Errorf("lab: parameter %s: %w", name, err)
	}
	operation := "Update"
	if old == nil {
		operation = "Create"
	}
	l.parameterChanged(p, operation)
	return p.latest().number, nil
}

// LabelParameter moves a label of a parameter to a version, wherever it is
// now; zero is the latest.
func (l *Lab) LabelParameter(name, label string, version int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.parameters.byName[name]
	if p == nil {
		return fmt.Errorf("lab: parameter %s: not there", name)
	}
	invalid, err := p.label([]string{label}, version, l.nowLocked())
	if err == nil && len(invalid) > 0 {
		err = errValidation("label %q: not a label", label)
	}
	if err != nil {
		return fmt.Errorf("lab: parameter %s: %w", name, err)
	}
	l.parameterChanged(p, "LabelParameterVersion")
	return nil
}

// DeleteParameter removes a parameter.
func (l *Lab) DeleteParameter(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.parameters.byName[name]; p != nil {
		l.removeParameter(p)
	}
}

func (l *Lab) removeParameter(p *parameter) {
	delete(l.parameters.byName, p.name)
	l.parameterChanged(p, "Delete")
}

// SetShortPages makes pages of GetParametersByPath hold less than was asked
// for, nothing at all among them, as AWS's may. Off at first.
func (l *Lab) SetShortPages(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parameters.short = on
}
