#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace storehouse {

using Row = std::unordered_map<std::string, std::string>;

/// Splits a line into fields; nothing when a quote is not closed.
std::optional<std::vector<std::string>> parse_csv_line(std::string_view line);

/// Reads a text whose first line names the columns.
std::optional<std::vector<Row>> parse_csv(std::string_view text);

}  // namespace storehouse
