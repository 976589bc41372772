/*
 * base.h - the vocabulary of the house: an umbrella over the headers of this folder
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"
#include "base/utf8.h"

#endif
