// Package house holds no code: its tests keep the rules of the house that no linter knows.
package house
