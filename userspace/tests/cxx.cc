// SPDX-License-Identifier: LGPL-2.1-only OR MIT
// The headers are C++, although functions and structs share names.
#include <guestmem.h>

#include <cerrno>

int main()
{
	struct guestmem_info info = {};
	struct guestmem_error err;

	info.size = sizeof(info);
	if (guestmem_info(nullptr, &info) != -EINVAL || errno != EINVAL)
		return 1;
	if (guestmem_lock(nullptr, 0, 1, GUESTMEM_DMA_TO_DEVICE, 0, nullptr, nullptr,
			  nullptr) != -EINVAL)
		return 1;
	return guestmem_last_error(&err) == -EINVAL && *guestmem_strerror() ? 0 : 1;
}
