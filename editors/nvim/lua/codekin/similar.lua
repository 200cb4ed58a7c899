---Similar code, search by meaning and near-duplicates: asks, and shows the places.
local client = require("codekin.client")
local config = require("codekin.config")
local results = require("codekin.results")

local M = {}

---@param result { hits: codekin.Hit[], query?: table, degraded?: string }
---@param title string
---@param way? string
local function show(result, title, way)
  local name = result.query and result.query.name
  results.show(name and name ~= "" and title .. " " .. name or title, result.hits, way)
  if result.degraded then
    vim.notify("Codekin: words alone were compared, since " .. result.degraded .. ".", vim.log.levels.INFO)
  end
end

---Code like that at the cursor, or in the lines of a selection.
---@param lines? { [1]: integer, [2]: integer } first and last, counted from 1
---@param way? string
function M.find(lines, way)
  local params = { textDocument = vim.lsp.util.make_text_document_params(), limit = config.values.limit, hideNoise = true }
  if lines then
    local start, finish = { line = lines[1] - 1, character = 0 }, { line = lines[2], character = 0 }
    params.range = { start = start, ["end"] = finish }
  else
    params.position = { line = vim.api.nvim_win_get_cursor(0)[1] - 1, character = 0 }
  end
  client.request("codekin/similar", params, function(result)
    show(result, "Similar to", way)
  end)
end

---Shows what a lens counted, or asks where only the place is given.
---@param argument { uri: string, position?: lsp.Position, range?: lsp.Range, hits?: codekin.Hit[] }
---@param way? string
function M.show(argument, way)
  if argument.hits then
    results.show("Similar code", argument.hits, way)
    return
  end
  local params = { textDocument = { uri = argument.uri }, position = argument.position, range = argument.range }
  params.limit, params.hideNoise = config.values.limit, true
  client.request("codekin/similar", params, function(result)
    show(result, "Similar to", way)
  end)
end

---Code that does what the words, or a pasted piece of code, say.
---@param words string
---@param way? string
function M.search(words, way)
  local near = vim.uri_from_bufnr(0)
  local function search(query)
    if query and query ~= "" then
      client.request("codekin/search", { text = query, near = near, limit = config.values.limit }, function(result)
        result.query = nil
        show(result, "Search: " .. query:gsub("\n.*", " …"), way)
      end)
    end
  end
  if words ~= "" then
    search(words)
  else
    vim.ui.input({ prompt = "Search by meaning: " }, search)
  end
end

---Groups of places that say nearly the same.
---@param way? string
function M.duplicates(way)
  client.request("codekin/duplicates", { root = client.root() }, function(result)
    local hits = vim.iter(result.groups):flatten():totable()
    local groups = #result.groups == 1 and "One group" or #result.groups .. " groups"
    results.show(groups .. " of near-duplicates", hits, way)
  end)
end

return M
