/* A PKCS#11 module that stands before SoftHSM's and does what real tokens do
   and SoftHSM does not: count wrong PINs, lock, and be slow. It is told by the
   environment: SHIM_FLAGS is what a token's flags have besides, SHIM_SLOW a
   file for as long as which is there a signature is waited for. The file
   SHIM_LOG gets a line for each PIN that is shown. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CK_PTR *
#define CK_DECLARE_FUNCTION(t, n) t n
#define CK_DECLARE_FUNCTION_POINTER(t, n) t(*n)
#define CK_CALLBACK_FUNCTION(t, n) t(*n)
#define NULL_PTR 0
#include "pkcs11.h"

static CK_FUNCTION_LIST list;
static CK_FUNCTION_LIST_PTR real;

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	if (getenv("SHIM_FLAGS"))
		info->flags |= strtoul(getenv("SHIM_FLAGS"), 0, 0);
	return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG n) {
	FILE *log = fopen(getenv("SHIM_LOG"), "a");
	if (log) {
		fputs("login\n", log);
		fclose(log);
	}
	return real->C_Login(session, user, pin, n);
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG n, CK_BYTE_PTR signature, CK_ULONG_PTR m) {
	while (getenv("SHIM_SLOW") && access(getenv("SHIM_SLOW"), F_OK) == 0)
		usleep(10000);
	return real->C_Sign(session, data, n, signature, m);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out) {
	void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
	if (!library)
		return CKR_GENERAL_ERROR;
	((CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList"))(&real);
	list = *real;
	list.C_GetTokenInfo = token_info;
	list.C_Login = login;
	list.C_Sign = sign;
	*out = &list;
	return CKR_OK;
}
