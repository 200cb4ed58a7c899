---Found places, shown where the user wants them: quickfix list, picker or floating preview.
local config = require("codekin.config")
local text = require("codekin.text")

local M = {}

---@class codekin.Hit
---@field uri string
---@field range lsp.Range
---@field path string
---@field name string
---@field kind string
---@field language string
---@field start_line integer
---@field end_line integer
---@field code_line integer where the code begins, below its doc
---@field score number
---@field reasons string[]

---@param hit codekin.Hit
---@param where string
---@return string
local function line_of(hit, where)
  local reasons = #hit.reasons > 0 and "  (" .. table.concat(hit.reasons, "; ") .. ")" or ""
  local name = text.short_name(hit.name)
  return ("%.2f  %s%s%s"):format(hit.score, name ~= "" and name or hit.path, where, reasons)
end

---One line that names a place.
---@param hit codekin.Hit
---@return string
function M.label(hit)
  return line_of(hit, ("  %s:%d"):format(hit.path, hit.code_line))
end

---Opens a place in the current window, with a way back by <C-o>.
---@param hit codekin.Hit
function M.open(hit)
  vim.lsp.util.show_document({ uri = hit.uri, range = hit.range }, "utf-8", { focus = true })
end

---@param hit codekin.Hit
local function quickfix_item(hit)
  return {
    filename = vim.uri_to_fname(hit.uri),
    lnum = hit.code_line,
    end_lnum = hit.end_line,
    text = line_of(hit, ""), -- the list itself says where
    user_data = hit,
  }
end

---@param title string
---@param hits codekin.Hit[]
function M.quickfix(title, hits)
  vim.fn.setqflist({}, " ", { title = title, items = vim.tbl_map(quickfix_item, hits) })
  vim.cmd("botright copen")
end

---Shows the places in the way that is asked for, else configured.
---@param title string
---@param hits codekin.Hit[]
---@param way? string
function M.show(title, hits, way)
  if #hits == 0 then
    vim.notify("Codekin: nothing found.", vim.log.levels.INFO)
    return
  end
  way = way or config.values.results
  if way == "picker" then
    require("codekin.picker").pick(title, hits)
  elseif way == "preview" then
    require("codekin.preview").open(title, hits)
  else
    M.quickfix(title, hits)
  end
end

return M
