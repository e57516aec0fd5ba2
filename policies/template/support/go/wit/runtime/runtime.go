// Package runtime gives out memory for values that cross the border of the component. The generated
// bindings ask for these names.
package runtime

import (
	"runtime"
	"unsafe"
)

var arguments runtime.Pinner

// Allocate gives out memory that stays where it is until `pinner` lets go of it. Eight bytes are the
// largest alignment of the contract.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	pointer := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	pinner.Pin(pointer)
	return pointer
}

// Unpin lets go of the arguments of a call, which are Go's from then on.
func Unpin() { arguments.Unpin() }
