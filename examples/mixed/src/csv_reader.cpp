#include "storehouse/csv_reader.hpp"

#include <algorithm>

namespace storehouse {

std::optional<std::vector<std::string>> parse_csv_line(std::string_view line) {
  std::vector<std::string> fields;
  std::string current;
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char byte = line[i];
    if (quoted && byte == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      current += '"';
      ++i;
    } else if (byte == '"') {
      quoted = !quoted;
    } else if (byte == ',' && !quoted) {
      fields.push_back(std::move(current));
      current.clear();
    } else {
      current += byte;
    }
  }
  if (quoted) {
    return std::nullopt;
  }
  fields.push_back(std::move(current));
  return fields;
}

std::optional<std::vector<Row>> parse_csv(std::string_view text) {
  std::vector<Row> rows;
  std::vector<std::string> names;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto fields = parse_csv_line(text.substr(0, end));
    if (!fields) {
      return std::nullopt;
    }
    if (names.empty()) {
      names = std::move(*fields);
    } else {
      Row row;
      for (std::size_t i = 0; i < std::min(names.size(), fields->size()); ++i) {
        row.emplace(names[i], std::move((*fields)[i]));
      }
      rows.push_back(std::move(row));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return rows;
}

}  // namespace storehouse
