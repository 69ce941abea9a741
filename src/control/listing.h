// Lists: pages with continue tokens, in the form asked for. Pure functions over the store.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control/answer.h"
#include "control/api_request.h"
#include "control/object_store.h"
#include "control/selector.h"
#include "control/table.h"

namespace sluice::control {

// Where a page begins: behind an object, of a list that had this version.
struct PageToken {
  uint64_t version = 0;
  std::string ns;
  std::string name;
};
std::string encode_token(const PageToken& token);
ApiResult<PageToken> decode_token(std::string_view text);

ApiResult<RowObject> row_object_of(const Query& query);

// GET of a collection. 410 when the token's version is no longer known.
ApiResult<net::HttpResponse> list_objects(const ObjectStore& store, const ApiPath& path,
                                          const Query& query, Form form, double now);

}  // namespace sluice::control
