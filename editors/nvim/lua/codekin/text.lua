---Pure functions on text: columns, words, lines.
local M = {}

---The byte column of a column in the client's units, clamped into the line.
---@param line string
---@param character integer
---@param encoding string
---@return integer
function M.byte_column(line, character, encoding)
  return vim.str_byteindex(line, encoding, character, false)
end

---How many of the client's units a text takes.
---@param text string
---@param encoding string
---@return integer
function M.units(text, encoding)
  return vim.str_utfindex(text, encoding)
end

---White space and one word or one run of signs; characters beyond ASCII belong to words.
---@param text string
---@return string
function M.first_word(text)
  return text:match("^%s*[%w_\128-\255]+") or text:match("^%s*[^%s%w_\128-\255]+") or text
end

---The text up to its line break; where it begins with one, that and the line after it.
---@param text string
---@return string
function M.first_line(text)
  return text:match("^\n?[^\n]*")
end

---The name without the modules, namespaces or classes around it: `Shop.Retry.again/3` is `again/3`.
---@param name string
---@return string
function M.short_name(name)
  local short, inner = name, nil
  repeat
    short, inner = inner or short, short:match("^%u[%w_]*%.(.+)$") or short:match("^[%w_ ()]+::(.+)$")
  until not inner
  return short
end

---The lines as virtual text shows them, which draws tabs as signs.
---@param text string
---@param tabstop integer
---@return string[]
function M.display_lines(text, tabstop)
  return vim.tbl_map(function(line)
    return (line:gsub("\t", (" "):rep(tabstop)))
  end, vim.split(text, "\n", { plain = true }))
end

return M
