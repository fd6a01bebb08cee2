// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* The inline functions, as functions: for other languages, and compilers that do not. */
#define GUESTMEM_INLINE	GUESTMEM_API

#include "guestmem.h"
