package render

import "maps"

// scratch keeps values for the length of one execution, as consul-template's
// does. Its exported methods are what templates call.
type scratch struct {
	values map[string]any
}

// Key reports whether k is set.
func (s *scratch) Key(k string) bool {
	_, ok := s.values[k]
	return ok
}

// Get returns what k is set to, or nil.
func (s *scratch) Get(k string) any { return s.values[k] }

// Set sets k.
func (s *scratch) Set(k string, v any) string {
	if s.values == nil {
		s.values = map[string]any{}
	}
	s.values[k] = v
	return ""
}

// SetX sets k unless it is set.
func (s *scratch) SetX(k string, v any) string {
	if s.Key(k) {
		return ""
	}
	return s.Set(k, v)
}

// MapSet sets name in the object k.
func (s *scratch) MapSet(k, name string, v any) (string, error) {
	s.SetX(k, map[string]any{})
	object, ok := s.values[k].(map[string]any)
	if !ok {
		return "", fault("it is set to something that is not an object")
	}
	object[name] = v
	return "", nil
}

// MapSetX sets name in the object k unless it is set.
func (s *scratch) MapSetX(k, name string, v any) (string, error) {
	if object, ok := s.values[k].(map[string]any); ok {
		if _, set := object[name]; set {
			return "", nil
		}
	}
	return s.MapSet(k, name, v)
}

// MapValues returns the values of the object k, sorted by their names.
func (s *scratch) MapValues(k string) []any {
	object, _ := s.values[k].(map[string]any)
	return values(maps.Clone(object))
}
