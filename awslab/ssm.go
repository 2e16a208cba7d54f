package awslab

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

func parameterOperation(name string) operation {
	switch name {
	case "DeleteParameter":
		return op((*Lab).deleteParameter)
	case "GetParameter":
		return op((*Lab).getParameter)
	case "GetParameters":
		return op((*Lab).getParameters)
	case "GetParametersByPath":
		return op((*Lab).getParametersByPath)
	case "LabelParameterVersion":
		return op((*Lab).labelParameterVersion)
	case "PutParameter":
		return op((*Lab).putParameter)
	}
	return nil
}

// parameterValue is what the reading operations return of a parameter.
type parameterValue struct {
	Name             string
	Type             string
	Value            string
	Version          int64
	Selector         string `json:",omitempty"`
	LastModifiedDate epoch
	ARN              string
	DataType         string
}

func (p *parameter) shown(v *parameterVersion, decrypted bool) parameterValue {
	out := parameterValue{Name: p.name, Type: p.kind, Value: v.value, Version: v.number, LastModifiedDate: epoch(v.changed), ARN: p.arn, DataType: "text"}
	if p.kind == TypeSecureString && !decrypted {
		out.Value = v.ciphertext(p.arn)
	}
	return out
}

// readParameter resolves a name or ARN with or without selector. The name
// that it returns has no selector: two of one parameter look the same there.
func (l *Lab) readParameter(id string, decrypted bool) (parameterValue, error) {
	name, selector := l.parameters.split(id)
	p := l.parameters.byName[name]
	if p != nil {
		p = look(l, &p.history, p, 0)
	}
	if p == nil {
		return parameterValue{}, errNoParameter()
	}
	v, err := p.pick(selector)
	if err != nil {
		return parameterValue{}, err
	}
	out := p.shown(v, decrypted)
	if selector != "" {
		out.Selector = ":" + selector
	}
	return out, nil
}

// authorizeParameter wants the caller to be allowed its operation on a
// parameter, whether it is there or not.
func (l *Lab) authorizeParameter(c caller, id string) error {
	name, _ := l.parameters.split(id)
	if strings.HasPrefix(name, "arn:") {
		return l.authorize(c, id)
	}
	return l.authorize(c, id, name, l.parameters.arnOf(name))
}

// checkAsked keeps the rules for a name in a request.
func (l *Lab) checkAsked(id string) error {
	name, _ := l.parameters.split(id)
	if !strings.HasPrefix(name, "arn:") && !parameterName.MatchString(name) {
		return errValidation("Invalid characters in parameter name: only letters, digits, '.', '-', '_' and '/' are allowed, and a name with '/' begins with it.")
	}
	return nil
}

// errNoParameter has no message, as AWS's.
func errNoParameter() error { return &apiError{code: "ParameterNotFound"} }

func (l *Lab) getParameter(c caller, in struct {
	Name           string
	WithDecryption bool
},
) (any, error) {
	if err := cmp.Or(l.checkAsked(in.Name), l.authorizeParameter(c, in.Name)); err != nil {
		return nil, err
	}
	value, err := l.readParameter(in.Name, in.WithDecryption)
	return struct{ Parameter parameterValue }{value}, err
}

// getParameters answers 200 also when none of the parameters is there, but
// refuses them all when one is denied.
func (l *Lab) getParameters(c caller, in struct {
	Names          []string
	WithDecryption bool
},
) (any, error) {
	if len(in.Names) < 1 || len(in.Names) > 10 {
		return nil, errValidation("names: %d names, must be 1 to 10", len(in.Names))
	}
	for _, name := range in.Names {
		if err := cmp.Or(l.checkAsked(name), l.authorizeParameter(c, name)); err != nil {
			return nil, err
		}
	}
	out := struct {
		Parameters        []parameterValue
		InvalidParameters []string
	}{Parameters: []parameterValue{}, InvalidParameters: []string{}}
	slices.Sort(in.Names)
	for _, name := range slices.Compact(in.Names) {
		value, err := l.readParameter(name, in.WithDecryption)
		if err != nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		out.Parameters = append(out.Parameters, value)
	}
	slices.SortStableFunc(out.Parameters, func(a, b parameterValue) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (l *Lab) getParametersByPath(c caller, in struct {
	Path           string
	Recursive      bool
	WithDecryption bool
	MaxResults     *int
	NextToken      string
},
) (any, error) {
	path := strings.TrimSuffix(in.Path, "/")
	if !strings.HasPrefix(in.Path, "/") || (path != "" && !parameterName.MatchString(path)) {
		return nil, errValidation("The parameter path must begin with a forward slash \"/\" and hold letters, digits, '.', '-' and '_' between the slashes.")
	}
	if err := l.authorize(c, in.Path, path, l.parameters.arnOf(path)); err != nil {
		return nil, err
	}
	below := []parameterValue{}
	for _, name := range slices.Sorted(maps.Keys(l.parameters.byName)) {
		rest, ok := strings.CutPrefix(name, path+"/")
		if !ok || (!in.Recursive && strings.Contains(rest, "/")) {
			continue
		}
		if value, err := l.readParameter(name, in.WithDecryption); err == nil {
			below = append(below, value)
		}
	}
	size, err := pageSize(in.MaxResults, 10)
	if err != nil {
		return nil, err
	}
	if l.parameters.short {
		l.parameters.pages++
		size = min(size, (l.parameters.pages*2)%5) // 2, 4, 1, 3, 0 and again
	}
	page, next, err := cut(below, size, in.NextToken)
	if err != nil {
		return nil, &apiError{code: "InvalidNextToken", message: "The specified token isn't valid."}
	}
	return struct {
		Parameters []parameterValue
		NextToken  string `json:",omitempty"`
	}{page, next}, nil
}

func (l *Lab) putParameter(c caller, in struct {
	Name        string
	Value       string
	Type        string
	Overwrite   bool
	Description string
	KeyID       string `json:"KeyId"`
	Tier        string
	DataType    string
},
) (any, error) {
	if err := l.authorizeParameter(c, in.Name); err != nil {
		return nil, err
	}
	if in.DataType != "" && in.DataType != "text" {
		return nil, errValidation("dataType: the lab takes text alone")
	}
	operation := "Update"
	if l.parameters.byName[in.Name] == nil {
		operation = "Create"
	}
	p, err := l.parameters.put(put{
		name: in.Name, value: in.Value, kind: in.Type, tier: in.Tier, description: in.Description, overwrite: in.Overwrite,
	}, l.nowLocked())
	if err != nil {
		return nil, err
	}
	l.parameterChanged(p, operation)
	return struct {
		Version int64
		Tier    string
	}{p.latest().number, p.tier}, nil
}

func (l *Lab) labelParameterVersion(c caller, in struct {
	Name             string
	ParameterVersion int64
	Labels           []string
},
) (any, error) {
	if err := l.authorizeParameter(c, in.Name); err != nil {
		return nil, err
	}
	if len(in.Labels) < 1 || len(in.Labels) > maxVersionLabels {
		return nil, errValidation("labels: %d labels, must be 1 to %d", len(in.Labels), maxVersionLabels)
	}
	p := l.parameters.find(in.Name)
	if p == nil {
		return nil, errNoParameter()
	}
	invalid, err := p.label(in.Labels, in.ParameterVersion, l.nowLocked())
	if err != nil {
		return nil, err
	}
	if len(invalid) < len(in.Labels) {
		l.parameterChanged(p, "LabelParameterVersion")
	}
	return struct {
		InvalidLabels    []string
		ParameterVersion int64
	}{append([]string{}, invalid...), cmp.Or(in.ParameterVersion, p.latest().number)}, nil
}

func (l *Lab) deleteParameter(c caller, in struct{ Name string }) (any, error) {
	if err := l.authorizeParameter(c, in.Name); err != nil {
		return nil, err
	}
	p := l.parameters.find(in.Name)
	if p == nil {
		return nil, errNoParameter()
	}
	l.removeParameter(p)
	return struct{}{}, nil
}
